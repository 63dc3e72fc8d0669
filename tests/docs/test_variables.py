"""docs/DEPLOYMENT.md has every environment variable; no document names one that nothing reads."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tests.docs.documents import every_text, read, section, table

pytestmark = pytest.mark.unit
# Variables that other programs read.
FOREIGN_VARIABLES = {"DJANGO_SETTINGS_MODULE", "VENV", "WORKERS", "PYTEST_ARGS", "CI"}


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
