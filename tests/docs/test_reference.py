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

from ecp_project.api.permissions import SCOPES
from ecp_project.kernel.errors import PROBLEMS
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
        if name == "SECURITY.md":
            continue  # speaks of the installation's contact file, which the proxy serves
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
        name: load_command_class(app, name).create_parser("manage.py", name)
        for name, app in get_commands().items()
        if str(app).startswith(OURS)
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


# --- system checks


def test_deployment_md_lists_every_system_check() -> None:
    files = [file for name in OURS for file in (PROJECT / name).rglob("*.py")]
    ids = {found for file in files for found in re.findall(r'id="(ecp\.[EW]\d+)"', file.read_text("utf-8"))}
    assert {row[0] for row in table(read("docs/DEPLOYMENT.md"), "id")} == ids
