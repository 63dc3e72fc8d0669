"""Graded advice with reasons, never a veto (FRICTION). The public face is `FrictionCalculator`."""

from __future__ import annotations

from advisory.friction.core.calculator import FrictionCalculator

__all__ = ["FrictionCalculator"]
