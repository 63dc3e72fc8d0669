"""docs/COMMANDS.md has every command, option and make target; no document names one that is not there."""

from __future__ import annotations

import argparse
import re
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from ledger.core.verify.command import _parser as verifier_parser
from tests.docs.documents import OURS, every_text, read, section, sections, table

pytestmark = pytest.mark.unit
# What comes with Django and is spoken of without being ours to describe.
DJANGOS = {"migrate", "collectstatic", "createsuperuser", "check", "makemigrations", "spectacular", "shell"}


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
