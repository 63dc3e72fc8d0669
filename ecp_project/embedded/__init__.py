"""Embedded PostgreSQL and Valkey for the first run and the tests (DECISIONS, "Embedded default").

The seam to the rest is `$ECP_HOME/state/servers.json`, which exists while the servers run: DATABASE_URL
(ecp_app), DATABASE_URL_CKPT, DATABASE_URL_AUDITOR, DATABASE_URL_MIGRATOR (the superuser, since only that role
may create event triggers) and REDIS_URL.
"""
