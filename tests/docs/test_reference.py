"""Addresses, settings, commands, codes and targets in the documents are those of the code, both ways."""

from __future__ import annotations

import argparse
import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.urls import Resolver404, URLPattern, get_resolver, resolve
from rest_framework.test import APIRequestFactory

from ecp_project.api import pagination, parsers
from ecp_project.api.permissions import ROLES, SCOPES
from ecp_project.celery import app
from ecp_project.kernel import canonical
from ecp_project.kernel.errors import PROBLEMS
from ledger import sequencer
from ledger.api import views
from ledger.core import decision, entry
from ledger.core.statement import LEDGER_STATEMENTS, kind_of
from ledger.core.verify.command import _parser as verifier_parser
from tests.docs.documents import PROJECT, documents, prose, read, section, sections, table

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.unit
OURS = ("ecp_project", "ledger", "advisory", "firewall", "consortium")
METHODS = ("get", "post", "put", "patch", "delete")
ENDPOINT = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/\S+)")
# What comes with Django and is spoken of without being ours to describe.
DJANGOS = {"migrate", "collectstatic", "createsuperuser", "check", "makemigrations", "spectacular", "shell"}
# Variables that other programs read.
FOREIGN_VARIABLES = {"DJANGO_SETTINGS_MODULE", "VENV", "WORKERS", "PYTEST_ARGS", "CI"}


def every_text() -> Iterable[tuple[str, str]]:
    for file in documents():
        yield str(file.relative_to(PROJECT)), file.read_text(encoding="utf-8")


# --- addresses


def routes() -> set[str]:
    """`METHOD /path/{name}` of every address, those inside the console excepted."""
    found: set[str] = set()
    for pattern in get_resolver().url_patterns:
        for leaf in getattr(pattern, "url_patterns", [pattern]):
            if not isinstance(leaf, URLPattern) or str(pattern.pattern) == "console/":
                continue
            if leaf.callback.__name__ == "unknown_route":
                continue
            path = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(leaf.pattern))
            view = getattr(leaf.callback, "cls", None)
            methods = [name for name in METHODS if hasattr(view, name)] if view else ["get"]
            found |= {f"{method.upper()} {path}" for method in methods}
    return found


def endpoint_sections() -> dict[str, str]:
    found = {row.title: row.text for row in sections(read("docs/API.md")) if ENDPOINT.fullmatch(row.title)}
    assert found
    return found


def test_api_md_has_a_section_for_each_address_and_no_other() -> None:
    assert set(endpoint_sections()) == routes()


def test_each_section_names_the_query_parameters_of_the_schema() -> None:
    schema = json.loads(read("schema/openapi.json"))
    for title, text in endpoint_sections().items():
        method, path = title.split()
        operation = schema["paths"].get(path, {}).get(method.lower())
        if operation is None:
            continue
        query = {row["name"] for row in operation.get("parameters", []) if row["in"] == "query"}
        told = re.search(r"Parameters: (.*?)\.(?:\s|\Z)", re.sub(r"\([^)]*\)", "", prose(text)), re.DOTALL)
        named = set(re.findall(r"`([a-z_]+)`", told[1])) if told else set()
        assert named == query, title


def test_every_address_in_the_documents_resolves() -> None:
    first = r"api|log|console|\.well-known|livez|readyz|startupz"
    form = re.compile(rf"(?<![\w.:/])(?<!prefix\": \")(/(?:{first})\b[^\s`\"'<>)|…]*)")
    for name, text in every_text():
        for address in set(form.findall(text)):
            path = re.sub(r"\{\w+\}|\$\w+", "x", address.split("?")[0]).rstrip(",.;:")
            assert leads_somewhere(path), (name, address)


def leads_somewhere(path: str) -> bool:
    if path.endswith("/") and any(route.split()[1].startswith(path) for route in routes()):
        return True  # a folder of addresses
    try:
        found = resolve(path)
    except Resolver404:
        return False
    return getattr(found.func, "__name__", "") != "unknown_route"


# --- problems and scopes


def test_api_md_lists_every_problem_code_as_the_register_has_it() -> None:
    rows = {row[0]: row[1:] for row in table(section(read("docs/API.md"), "Problems"), "code")}
    register = {
        code: [", ".join(map(str, problem.statuses)), problem.title, problem.advice]
        for code, problem in PROBLEMS.items()
    }
    assert rows == register


def test_codes_named_beside_a_status_are_registered() -> None:
    for name, text in every_text():
        for status, code in re.findall(r"\b([45][0-9]{2}) `([a-z_]+)`", text):
            assert code in PROBLEMS, (name, code)
            assert int(status) in PROBLEMS[code].statuses, (name, code, status)
        for code in re.findall(r"urn:ecp:problem:([a-z_]+)", text):
            assert code in PROBLEMS, (name, code)


def test_scopes_in_api_md_are_those_of_the_code() -> None:
    text = section(read("docs/API.md"), "Who calls")
    named = {row[0] for row in table(text, "scope")}
    further = re.search(r"Further scopes \((.*?)\)", text, re.DOTALL)
    assert further is not None
    patterns = re.findall(r"`([a-z:*]+)`", further[1])
    rest = {scope for scope in SCOPES if any(re.fullmatch(p.replace("*", ".+"), scope) for p in patterns)}
    assert named.isdisjoint(rest)
    assert named | rest == set(SCOPES)


# --- settings


def example() -> list[list[str]]:
    """Rows of the settings table that `.env.example` asks for."""
    lines = read(".env.example").splitlines()
    rows = []
    for comment, line in pairwise(lines):
        if match := re.fullmatch(r"([A-Z][A-Z0-9_]*)=(.*)", line):
            marks = ["yes" if mark in comment else "" for mark in ("[required]", "[secret]")]
            rows.append([match[1], match[2], *marks, re.sub(r" \[\w+\]", "", comment[2:])])
    return rows


def test_deployment_md_has_every_variable_with_default_and_meaning() -> None:
    assert table(section(read("docs/DEPLOYMENT.md"), "Settings"), "variable") == example()


def test_no_document_names_a_variable_that_nothing_reads() -> None:
    known = {row[0] for row in example()} | FOREIGN_VARIABLES
    known |= {f"{row[0]}_FILE" for row in example() if row[3]} | {"NAME_FILE"}
    form = re.compile(
        r"\b(ECP_[A-Z0-9_]*[A-Z0-9]|DATABASE_URL\w*|REDIS_URL|SECRET_KEY\w*|[A-Z]+_FILE|ALLOWED_HOSTS)\b"
    )
    tests_read = {"ECP_SHARED", "ECP_UPDATE_DOCS", "ECP_UPDATE_BASELINES", "ECP_RATE"}
    for name, text in every_text():
        assert set(form.findall(text)) - known - tests_read == set(), name


# --- commands


def commands() -> dict[str, argparse.ArgumentParser]:
    return {
        name: load_command_class(owner, name).create_parser("manage.py", name)
        for name, owner in get_commands().items()
        if str(owner).startswith(OURS)
    }


def verifier_commands() -> dict[str, argparse.ArgumentParser]:
    actions = verifier_parser()._actions
    found: Any = next(action for action in actions if isinstance(action, argparse._SubParsersAction))
    return {f"verify {name}": parser for name, parser in found.choices.items()}


def options(parser: argparse.ArgumentParser, without: set[str]) -> set[tuple[str, bool]]:
    """(name, must be given) of each option; arguments go by their name in capitals."""
    found = set()
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or set(action.option_strings) & without:
            continue
        name = action.option_strings[0] if action.option_strings else action.dest.upper()
        found.add((name, bool(action.option_strings) and action.required))
    return found


DJANGO_OPTIONS = {
    option
    for action in BaseCommand().create_parser("manage.py", "x")._actions
    for option in action.option_strings
}


def documented_commands() -> dict[str, str]:
    return {row.title: row.text for row in sections(read("docs/COMMANDS.md")) if row.level == 3}


def test_commands_md_has_every_command_and_no_other() -> None:
    assert set(documented_commands()) == set(commands()) | set(verifier_commands())


@pytest.mark.parametrize("name", sorted({**commands(), **verifier_commands()}))
def test_commands_md_has_every_option_and_no_other(name: str) -> None:
    parser = {**commands(), **verifier_commands()}[name]
    wanted = options(parser, DJANGO_OPTIONS if name in commands() else set())
    text = documented_commands().get(name, "")
    rows = table(text, "option") if "| option |" in text else []
    assert all(row[1] for row in rows)
    assert {(row[0].split()[0], row[1].endswith("required")) for row in rows} == wanted


def test_every_command_in_any_document_exists() -> None:
    known = set(commands()) | DJANGOS
    for name, text in every_text():
        named = set(re.findall(r"manage\.py ([a-z_]+)", text))
        named |= set(re.findall(r"COMMANDS\.md#([a-z_]+)\)", text))
        assert named - known == set(), name
        assert set(re.findall(r"ledger\.core\.verify ([a-z]+)", text)) <= {
            command.removeprefix("verify ") for command in verifier_commands()
        }, name


# --- make targets


def test_commands_md_lists_every_make_target() -> None:
    targets = dict(re.findall(r"^([a-z-]+):.*?## (.*)$", read("Makefile"), re.MULTILINE))
    assert dict(table(section(read("docs/COMMANDS.md"), "Make targets"), "target")) == targets


def test_every_make_target_in_any_document_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", read("Makefile"), re.MULTILINE))
    for name, text in every_text():
        named = set(re.findall(r"`make ([a-z-]+)", text)) | set(
            re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)
        )
        assert named - targets == set(), name


# --- kinds, tasks, roles, limits


def test_api_md_lists_every_kind_of_statement_and_who_may_sign_it() -> None:
    rows = {row[0]: bool(row[1]) for row in table(read("docs/API.md"), "kind")}
    assert rows == {v: kind_of(v).is_signable for v in LEDGER_STATEMENTS}


def test_architecture_md_lists_every_task() -> None:
    app.loader.import_default_modules()
    tasks = {name for name in app.tasks if not name.startswith("celery.")}
    assert {row[0] for row in table(read("docs/ARCHITECTURE.md"), "task")} == tasks
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} == tasks


def permission_of(method: str, path: str) -> Any:
    """The one permission that a view asks of `METHOD path`."""
    view = resolve(re.sub(r"\{\w+\}", "x", path)).func.cls()  # type: ignore[attr-defined]  # set by DRF
    view.request = APIRequestFactory().generic(method, path)
    (permission,) = view.get_permissions()
    return permission


def may(permission: Any, method: str) -> frozenset[str]:
    roles: frozenset[str] = permission.safe_roles if method == "GET" else permission.roles
    return roles


@pytest.mark.parametrize("title", sorted(endpoint_sections()))
def test_each_section_tells_scope_and_roles_of_the_view(title: str) -> None:
    method, path = title.split()
    if not path.startswith("/api/v1/"):
        return
    permission = permission_of(method, path)
    told = endpoint_sections()[title].strip().partition(".")[0]
    scope = re.search(r"Scope `([a-z:]+)`", told)
    assert (scope[1] if scope else None) == permission.scope, told
    named = set(ROLES) if "every role" in told else set(re.findall("|".join(ROLES), told))
    assert named == may(permission, method), told
    assert ("machines only" in told) == (not named)
    assert ("no API key" in told) == (permission.scope is None)


# Rows of the table in docs/SECURITY.md, and the endpoint that each one is about.
ROLE_ROWS = {
    "read decisions, logs, proofs": "GET /api/v1/decisions/",
    "record a decision": "POST /api/v1/decisions/",
    "annotate": "POST /api/v1/decisions/{uid}/annotations/",
    "export the log": "GET /api/v1/logs/{slug}/export.ndjson",
    "ask for an erasure": "POST /api/v1/decisions/{uid}/erase/",
    "register agents": "POST /api/v1/agents/",
}


def test_security_md_gives_each_act_to_the_roles_of_the_endpoint() -> None:
    rows = {row[0]: row[1:] for row in table(read("docs/SECURITY.md"), "action")}
    assert {action for action, cells in rows.items() if any(cells)} == set(ROLE_ROWS)
    for action, title in ROLE_ROWS.items():
        method, path = title.split()
        permission = permission_of(method, path)
        allowed = {role for role, cell in zip(ROLES, rows[action], strict=False) if cell}
        assert allowed == may(permission, method), action
        assert bool(rows[action][-1]) == (permission.scope is not None), action


@pytest.mark.parametrize(
    ("what", "limits"),
    [
        ("one document", (f"{parsers.MAX_DOCUMENT >> 10} KiB",)),
        ("one document", (f"{canonical.MAX_SEPARATORS:,} `:`", f"depth {canonical.MAX_DEPTH}")),
        (
            "a statement; an entry",
            (f"{canonical.MAX_STATEMENT_BYTES:,} bytes", f"{entry.MAX_ENTRY_BYTES:,} bytes"),
        ),
        ("`context` and `explanation_detail` together", (f"{decision.MAX_PRIVATE_BYTES >> 10} KiB",)),
        ("batch", (f"{parsers.MAX_LINES:,} lines", f"{parsers.MAX_BATCH >> 20} MiB")),
        ("request target", (f"{pagination.MAX_TARGET >> 10} KiB",)),
        ("page", (f"{pagination.MAX_SIZE} decisions", f"{views.MAX_RANGE:,} entries")),
        ("appends that wait in one process", (f"{sequencer.MAX_OUTSTANDING:,}",)),
        ("wait for a commit", (f"{sequencer.WAIT_S:.0f} s",)),
    ],
)
def test_limits_in_api_md_are_those_of_the_code(what: str, limits: tuple[str, ...]) -> None:
    rows = {row[0]: row[1] for row in table(read("docs/API.md"), "what")}
    cell = rows.get(what) or rows[what.strip("`")]
    assert all(limit in cell for limit in limits), cell


# --- system checks


def test_deployment_md_lists_every_system_check() -> None:
    files = [file for name in OURS for file in (PROJECT / name).rglob("*.py")]
    ids = {found for file in files for found in re.findall(r'id="(ecp\.[EW]\d+)"', file.read_text("utf-8"))}
    assert {row[0] for row in table(read("docs/DEPLOYMENT.md"), "id")} == ids
