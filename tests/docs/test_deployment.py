"""docs/DEPLOYMENT.md as an operator follows it: its own commands make an installation that signs receipts.

Left out are worker and beat, which would share a broker with other tests, and what needs programs of
PostgreSQL: `roles.sql` is run by `tests.databases`, and the database is made here.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from tests import databases
from tests.docs.documents import PROJECT, blocks, read, section, table
from tests.served import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.e2e
GO_S = 5  # a decision gets a signed receipt within it


@pytest.fixture
def production_database(database_name: str, cluster: databases.Cluster) -> Iterator[str]:
    """Name of an empty database, on a cluster whose roles exist."""
    name = f"{database_name}_production"
    with cluster.connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER ecp_owner").format(sql.Identifier(name)))
    yield name
    databases.drop_database(cluster, name)


@pytest.fixture
def operator(cluster: databases.Cluster, production_database: str, tmp_path: Path) -> dict[str, str]:
    """Environment that all processes share."""
    outside = ("ECP_", "DATABASE_", "COVERAGE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
    return kept | {
        "ECP_ENV": "production", "DJANGO_SETTINGS_MODULE": "ecp_project.settings.production",
        "SECRET_KEY": secrets.token_urlsafe(48), "ECP_HOME": str(tmp_path), "REDIS_URL": cluster.redis_url,
        "ALLOWED_HOSTS": "127.0.0.1", "ECP_BASE_URL": "https://ecp.example.org", "ECP_TRUSTED_PROXIES": "1",
        "DATABASE_URL": cluster.url("ecp_app", production_database), "ECP_METRICS_PORT": "0",
        "ECP_WEB_PROCESSES": "1", "ECP_PORT": str(free_port()),
    }  # fmt: skip


def words(command: str) -> list[str]:
    """The command as it stands in the document, with this interpreter's folder for `.venv/bin`."""
    return shlex.split(command.replace(".venv/bin", str(Path(sys.executable).parent)), comments=True)


def run(command: str, surroundings: Mapping[str, str]) -> str:
    done = subprocess.run(  # noqa: S603 - from our own document
        words(command), cwd=PROJECT, env=surroundings, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


@contextmanager
def running(command: str, surroundings: Mapping[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as told:
        process = subprocess.Popen(words(command), cwd=PROJECT, env=surroundings, stdout=told, stderr=told)  # noqa: S603 - from our own document
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def ask(surroundings: Mapping[str, str], path: str, body: Any = None, **headers: str) -> Any:
    """JSON answer to a request as the proxy passes it on; None while there is no good one."""
    address = f"http://127.0.0.1:{surroundings['ECP_PORT']}{path}"
    data = None if body is None else json.dumps(body).encode()
    proxied = {"X-Forwarded-Proto": "https", "Content-Type": "application/json"} | headers
    request = urllib.request.Request(address, data, proxied)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http, ours
            return json.load(answer)
    except OSError:
        return None


def until(condition: Any, log: Path) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.2)
    return found


def lines(title: str) -> list[str]:
    """Commands of our own in the console block of a section."""
    text = "".join(block.text for block in blocks(section(read("docs/DEPLOYMENT.md"), title)))
    return [line for line in text.splitlines() if "manage.py" in line]


def test_the_documented_commands_make_an_installation_that_signs(
    operator: dict[str, str], cluster: databases.Cluster, production_database: str, tmp_path: Path
) -> None:
    migrate = {"DATABASE_URL_MIGRATOR": cluster.url("ecp_migrator", production_database)}
    for command in lines("Install"):
        if "collectstatic" not in command:  # writes into the checkout; `make check` does it
            run(command, operator | (migrate if " migrate " in command else {}))
    start = {row[0]: row[1] for row in table(section(read("docs/DEPLOYMENT.md"), "Start"), "process")}
    web = operator | {"ECP_KEK": secrets.token_urlsafe(32)}
    checkpointer = operator | {
        "DATABASE_URL": cluster.url("ecp_ckpt", production_database),
        "ECP_SIGNING_KEY_FILE": str(tmp_path / "keys" / "ledger.key"),
    }
    web_log, checkpointer_log = tmp_path / "web.log", tmp_path / "checkpointer.log"
    with (
        running(start["web"], web, web_log),
        running(start["checkpointer"], checkpointer, checkpointer_log),
    ):
        until(lambda: ask(web, "/readyz"), web_log)
        printed = [run(command, web) for command in lines("Start") if re.search(r"_create\b", command)]
        key = printed[-1].strip()
        record = {"agent": "pricing-bot", "action": "price.change", "explanation": "The lamp is an old one."}
        headers = {"Authorization": f"Bearer {key}", "Prefer": f"wait={GO_S}"}
        receipt = until(lambda: ask(web, "/api/v1/decisions/", record, **headers), web_log)
    assert receipt["status"] == "signed"
    assert receipt["log"] == "ecp.example.org/log/acme"
