"""What others wrote and we keep a copy of is the very file that its VENDOR.md names."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from tests.installation import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit
ROW = re.compile(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", re.MULTILINE)
LISTS = sorted(
    path for folder in ("ecp_project", "tests") for path in (PROJECT / folder).glob("**/vendor/VENDOR.md")
)


def test_there_is_something_to_check() -> None:
    assert PROJECT / "tests" / "console" / "vendor" / "VENDOR.md" in LISTS


@pytest.mark.parametrize("document", LISTS, ids=lambda path: str(path.parent.relative_to(PROJECT)))
def test_vendored_files_are_those_that_are_listed(document: Path) -> None:
    listed = dict(ROW.findall(document.read_text(encoding="utf-8")))
    there = {
        str(file.relative_to(document.parent)): sha256(file.read_bytes()).hexdigest()
        for file in document.parent.rglob("*")
        if file.is_file() and file != document
    }
    assert there == listed
