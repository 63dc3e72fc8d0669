"""The variables that the code reads are those of `.env.example`, with the same defaults."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("ecp_project", "ledger", "advisory", "firewall", "consortium")
READERS = {
    "text", "secret", "secret_items", "boolean", "integer", "choice", "items", "path", "networks", "ports",
    "rate",
}  # fmt: skip
# Set by the shell, by make and by Python; not ours to document.
FOREIGN = {"PATH", "MAKELEVEL", "DJANGO_SETTINGS_MODULE", "REMAP_SIGTERM"}
# Files that only one process may read; there is no variable for their content.
KEY_FILES = {"ECP_SIGNING_KEY_FILE", "ECP_DELIVERY_KEY_FILE"}
LINE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")


def constant(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def dotted(node: ast.expr) -> str:
    return ast.unparse(node)


def names_read(tree: ast.Module) -> set[str]:
    found: set[str | None] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            owner, reader = dotted(node.func.value), node.func.attr
            if (owner == "env" and reader in READERS) or owner == "os.environ":
                found.add(constant(node.args[0]))
        elif isinstance(node, ast.Subscript) and dotted(node.value) == "os.environ":
            found.add(constant(node.slice))
    return {name if name in KEY_FILES else name.removesuffix("_FILE") for name in found if name}


def variables_in_code() -> set[str]:
    files = [file for package in PACKAGES for file in (PROJECT / package).rglob("*.py")]
    return {name for file in files for name in names_read(ast.parse(file.read_text()))} - FOREIGN


def example() -> dict[str, str]:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    return {match[1]: match[2] for line in lines if (match := LINE.fullmatch(line))}


def test_every_variable_that_the_code_reads_is_in_the_example_and_the_other_way_round() -> None:
    assert variables_in_code() == set(example())


def test_every_variable_of_the_example_has_a_comment_that_ends_its_sentence() -> None:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    for before, line in pairwise(lines):
        if LINE.fullmatch(line):
            assert re.fullmatch(r"# .+\.( \[required\])?( \[secret\])?", before), line


def test_variables_read_as_secrets_are_marked_as_such() -> None:
    text = (PROJECT / ".env.example").read_text()
    marked = set(re.findall(r"\[secret\]\n([A-Z_]+)=", text))
    read: set[str] = set()
    for file in (PROJECT / "ecp_project").rglob("*.py"):
        read |= set(re.findall(r"env\.secret(?:_items)?\(\s*\"([A-Z_]+)\"", file.read_text()))
    assert read == marked


def test_no_default_of_the_example_is_a_secret() -> None:
    text = (PROJECT / ".env.example").read_text()
    assert not re.findall(r"\[secret\]\n[A-Z_]+=.+", text)
