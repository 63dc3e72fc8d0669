"""From connection URLs to Django's `DATABASES` (OPERATIONS section 5.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ecp_project import env

if TYPE_CHECKING:
    from pathlib import Path

POOL_TIMEOUT_S = 2
CONNECT_TIMEOUT_S = 3
SERVER_URLS = ("DATABASE_URL", "DATABASE_URL_CKPT", "DATABASE_URL_MIGRATOR", "REDIS_URL")


def parse_dsn(name: str, url: str) -> dict[str, Any]:
    """One entry of `DATABASES`; `?host=/folder&port=N` names a Unix socket, other parameters go to libpq."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise env.EnvError(f"{name}: {error}") from error
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        raise env.EnvError(f"{name} is no address of the form postgresql://user:password@host:port/name")
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    host = options.pop("host", "") or unquote(parts.hostname or "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(options.pop("port", "") or port or ""),
        "OPTIONS": {"connect_timeout": CONNECT_TIMEOUT_S} | options,
    }


def server_urls(home: Path) -> dict[str, str]:
    """Addresses from the environment; without `DATABASE_URL` those of the embedded servers, when they run."""
    named = {
        "DATABASE_URL": env.secret("DATABASE_URL", ""),
        "DATABASE_URL_DIRECT": env.secret("DATABASE_URL_DIRECT", ""),
        "DATABASE_URL_CKPT": env.secret("DATABASE_URL_CKPT", ""),
        "DATABASE_URL_MIGRATOR": env.secret("DATABASE_URL_MIGRATOR", ""),
        "REDIS_URL": env.secret("REDIS_URL", ""),
    }
    if named["DATABASE_URL"] and named["REDIS_URL"]:
        return named
    try:
        embedded = json.loads((home / "state" / "servers.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return named
    if not isinstance(embedded, dict):
        return named
    if named["DATABASE_URL"]:  # an outside database with the embedded Redis
        return named | {"REDIS_URL": str(embedded.get("REDIS_URL", ""))}
    return {key: str(embedded.get(key, "")) for key in SERVER_URLS} | {k: v for k, v in named.items() if v}


def databases(urls: dict[str, str], *, pool: bool, threads: int) -> dict[str, dict[str, Any]]:
    """Aliases `default` (pooled), `direct` (session state allowed), `checkpointer` and `migrator`."""
    if not urls.get("DATABASE_URL"):
        nowhere = {"ENGINE": "ecp_project.no_database", "NAME": "none"}
        return {alias: dict(nowhere) for alias in ("default", "direct", "checkpointer", "migrator")}
    default = parse_dsn("DATABASE_URL", urls["DATABASE_URL"]) | {"CONN_MAX_AGE": 0}
    if pool:
        # one more than threads: a fresh connection asks for its types over a second one
        default["OPTIONS"]["prepare_threshold"] = 5  # for our own cursors; Django's never prepare
        default["OPTIONS"]["pool"] = {"min_size": 1, "max_size": threads + 1, "timeout": POOL_TIMEOUT_S}
    else:  # behind PgBouncer a session may change its server connection between two transactions
        default["OPTIONS"]["prepare_threshold"] = None
        default["DISABLE_SERVER_SIDE_CURSORS"] = True
    direct_url = urls.get("DATABASE_URL_DIRECT") or urls["DATABASE_URL"]
    direct = parse_dsn("DATABASE_URL_DIRECT", direct_url)
    checkpointer = parse_dsn("DATABASE_URL_CKPT", urls.get("DATABASE_URL_CKPT") or direct_url)
    migrator = parse_dsn("DATABASE_URL_MIGRATOR", urls.get("DATABASE_URL_MIGRATOR") or direct_url)
    if pool or urls.get("DATABASE_URL_DIRECT"):  # sessions of their own, with no PgBouncer between
        direct["OPTIONS"]["prepare_threshold"] = checkpointer["OPTIONS"]["prepare_threshold"] = 5
    if urls.get("DATABASE_URL_MIGRATOR"):
        # ecp_migrator, or the superuser of the embedded server: objects belong to ecp_owner (section 5.1)
        migrator["OPTIONS"]["assume_role"] = "ecp_owner"
    return {"default": default, "direct": direct, "checkpointer": checkpointer, "migrator": migrator}
