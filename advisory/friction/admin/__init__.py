"""Friction's pages of the console beside its panels (FRICTION 10)."""

from advisory.friction.admin import advice, bypasses, people, rules, simulations

__all__ = ["advice", "bypasses", "people", "rules", "simulations"]
