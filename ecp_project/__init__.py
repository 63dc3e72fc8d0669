"""ECP: a tamper-evident decision ledger and governance console for organisations whose AI agents act."""

__version__ = "2.2.0"
