"""From connection URLs to Django's aliases, pooled or behind PgBouncer (OPERATIONS section 5.2)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections
from psycopg_pool import PoolTimeout

from ecp_project.env import EnvError
from ecp_project.settings.databases import databases, parse_dsn, server_urls

PROJECT = Path(__file__).resolve().parents[2]
URL = "postgresql://ecp_app:p%40ss@db.example.org:5433/ecp"


@pytest.fixture
def no_servers_named(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (
        "DATABASE_URL",
        "DATABASE_URL_DIRECT",
        "DATABASE_URL_CKPT",
        "DATABASE_URL_MIGRATOR",
        "REDIS_URL",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    return monkeypatch


@pytest.mark.unit
def test_parts_of_a_url_are_decoded() -> None:
    found = parse_dsn("DATABASE_URL", URL + "?sslmode=verify-full")
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"], found["NAME"]) == (
        "ecp_app", "p@ss", "db.example.org", "5433", "ecp",
    )  # fmt: skip
    assert found["OPTIONS"] == {"connect_timeout": 3, "sslmode": "verify-full"}


@pytest.mark.unit
def test_unix_socket_is_named_by_parameters() -> None:
    found = parse_dsn("DATABASE_URL", "postgresql://ecp_app:pw@/ecp?host=/run/ecp&port=6543")
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("/run/ecp", "6543", "ecp")
    assert found["OPTIONS"] == {"connect_timeout": 3}


@pytest.mark.unit
@pytest.mark.parametrize(
    "url", ["ecp", "mysql://h/ecp", "postgresql://h", "postgresql://h/", "postgresql://h:x/ecp"]
)
def test_url_that_names_no_database_is_refused(url: str) -> None:
    with pytest.raises(EnvError, match="DATABASE_URL"):
        parse_dsn("DATABASE_URL", url)


@pytest.mark.unit
def test_pool_is_for_the_application_alone() -> None:
    found = databases({"DATABASE_URL": URL}, pool=True, threads=8)
    assert found["default"]["OPTIONS"]["pool"] == {"min_size": 1, "max_size": 9, "timeout": 2}
    assert all("pool" not in found[alias]["OPTIONS"] for alias in ("direct", "checkpointer", "migrator"))


@pytest.mark.unit
def test_behind_pgbouncer_nothing_outlives_a_transaction() -> None:
    found = databases({"DATABASE_URL": URL}, pool=False, threads=8)["default"]
    assert found["OPTIONS"]["prepare_threshold"] is None
    assert (found["DISABLE_SERVER_SIDE_CURSORS"], found["CONN_MAX_AGE"]) == (True, 0)
    assert "pool" not in found["OPTIONS"]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("pool", "urls", "prepares"),
    [
        (True, {"DATABASE_URL": URL}, True),
        (False, {"DATABASE_URL": URL}, False),  # the same address, so the same PgBouncer
        (False, {"DATABASE_URL": URL, "DATABASE_URL_DIRECT": URL}, True),
    ],
)
def test_appends_are_prepared_where_the_session_is_their_own(
    pool: bool,  # noqa: FBT001 - a row of the table
    urls: dict[str, str],
    prepares: bool,  # noqa: FBT001 - as above
) -> None:
    found = databases(urls, pool=pool, threads=8)
    assert all(
        (found[alias]["OPTIONS"].get("prepare_threshold") is not None) == prepares
        for alias in ("direct", "checkpointer")
    )


@pytest.mark.unit
def test_each_route_falls_back_to_the_one_before(
    no_servers_named: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_servers_named.setenv("DATABASE_URL", URL)
    no_servers_named.setenv("DATABASE_URL_DIRECT", URL.replace("5433", "5432"))
    no_servers_named.setenv("REDIS_URL", "redis://redis.example.org")
    found = databases(server_urls(tmp_path), pool=True, threads=4)
    assert {alias: entry["PORT"] for alias, entry in found.items()} == {
        "default": "5433", "direct": "5432", "checkpointer": "5432", "migrator": "5432",
    }  # fmt: skip
    assert "assume_role" not in found["migrator"]["OPTIONS"]


@pytest.mark.unit
def test_migrator_of_the_environment_acts_as_the_owner(
    no_servers_named: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_servers_named.setenv("DATABASE_URL", URL)
    no_servers_named.setenv("DATABASE_URL_MIGRATOR", URL.replace("ecp_app", "ecp_migrator"))
    found = databases(server_urls(tmp_path), pool=True, threads=4)["migrator"]
    assert (found["USER"], found["OPTIONS"]["assume_role"]) == ("ecp_migrator", "ecp_owner")


def embedded(home: Path) -> dict[str, str]:
    urls = {
        "DATABASE_URL": "postgresql://ecp_app:pw@/ecp?host=/s&port=1",
        "DATABASE_URL_CKPT": "postgresql://ecp_ckpt:pw@/ecp?host=/s&port=1",
        "DATABASE_URL_MIGRATOR": "postgresql://postgres@/ecp?host=/s&port=1",
        "REDIS_URL": "redis+socket:///s/valkey.sock",
    }
    (home / "state").mkdir()
    (home / "state" / "servers.json").write_text(json.dumps(urls | {"pid": 1}))
    return urls


@pytest.mark.unit
def test_embedded_servers_are_found_by_their_file(
    no_servers_named: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del no_servers_named
    urls = embedded(tmp_path)
    assert server_urls(tmp_path) == urls
    found = databases(server_urls(tmp_path), pool=True, threads=4)
    assert [found[alias]["USER"] for alias in ("default", "direct", "checkpointer", "migrator")] == [
        "ecp_app", "ecp_app", "ecp_ckpt", "postgres",
    ]  # fmt: skip
    assert found["migrator"]["OPTIONS"]["assume_role"] == "ecp_owner"


@pytest.mark.unit
def test_named_database_goes_with_the_embedded_redis(
    no_servers_named: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    urls = embedded(tmp_path)
    no_servers_named.setenv("DATABASE_URL", URL)
    found = server_urls(tmp_path)
    assert (found["DATABASE_URL"], found["REDIS_URL"]) == (URL, urls["REDIS_URL"])
    assert found["DATABASE_URL_MIGRATOR"] == ""


@pytest.mark.unit
@pytest.mark.parametrize("content", [None, "", "{", "[]"])
def test_without_any_server_every_alias_points_nowhere(
    no_servers_named: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    del no_servers_named
    if content is not None:
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "servers.json").write_text(content)
    found = databases(server_urls(tmp_path), pool=True, threads=4)
    assert {entry["ENGINE"] for entry in found.values()} == {"ecp_project.no_database"}


def manage(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(  # noqa: S603 - our own interpreter and arguments
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT, env=inherited | {"ECP_HOME": str(home)}, capture_output=True, text=True, timeout=60, check=False,  # noqa: E501 - one sentence
    )  # fmt: skip


@pytest.mark.unit
def test_commands_that_need_no_database_work_without_one(tmp_path: Path) -> None:
    for arguments in (
        ["check"],
        ["makemigrations", "--check"],
        ["spectacular", "--file", str(tmp_path / "x.yml")],
    ):
        done = manage(tmp_path / "home", *arguments)
        assert done.returncode == 0, (arguments, done.stderr)


@pytest.mark.unit
def test_other_commands_say_what_to_do(tmp_path: Path) -> None:
    done = manage(tmp_path / "home", "migrate")
    assert done.returncode != 0
    assert "no database: start `make run` or set DATABASE_URL" in done.stderr


@pytest.mark.unit
def test_secrets_of_a_first_run_are_made_once_and_are_for_their_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert manage(home, "check").returncode == 0
    files = [home / "keys" / name for name in ("secret_key", "kek")]
    first = [file.read_text() for file in files]
    assert manage(home, "check").returncode == 0
    assert [file.read_text() for file in files] == first
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    assert sorted(path.name for path in (home / "keys").iterdir()) == ["kek", "secret_key"]


@pytest.mark.db
def test_exhausted_pool_is_an_operational_error_after_the_timeout(
    database_name: str, django_db_blocker: Any
) -> None:
    """Which the API answers with 503 (tests/api/test_problems.py)."""
    wrapper = connections["default"]
    changed = {**wrapper.settings_dict, "CONN_MAX_AGE": 0, "NAME": database_name}
    changed["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 1, "timeout": 0.5}}
    with django_db_blocker.unblock():
        first, second = (type(wrapper)(changed, "default") for _ in range(2))
        try:
            first.ensure_connection()
            with pytest.raises(OperationalError) as caught:
                second.ensure_connection()
            assert isinstance(caught.value.__cause__, PoolTimeout)
        finally:
            first.close()
            second.close()
            first.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's wrapper has it
