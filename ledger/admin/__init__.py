"""Console pages of the ledger: the log itself, and the registry around it."""

from ledger.admin import entries, registry

__all__ = ["entries", "registry"]
