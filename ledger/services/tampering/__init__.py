"""Show that tampering is found: a log is copied into a scratch database, changed there, and verified.

LEDGER section 15 lists the kinds and what must find them.

Nothing here writes to the installation's own database. The copy has a signing key of its own, made for it and
gone with it, so that even the forged checkpoints of a demonstration prove nothing about the real log.
"""
