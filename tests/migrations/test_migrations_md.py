"""docs/MIGRATIONS.md lists every migration, and a landed migration stays as it is."""

from __future__ import annotations

import hashlib
import os
import re

import pytest

from tests.docs.documents import PROJECT, section, table

pytestmark = pytest.mark.unit

FILES = {
    f"{file.parent.parent.name} {file.stem}": file
    for file in sorted(PROJECT.glob("**/migrations/[0-9]*.py"))
    if ".venv" not in file.parts
}
DOCUMENT = PROJECT / "docs" / "MIGRATIONS.md"


def digest(name: str) -> str:
    return hashlib.sha256(FILES[name].read_bytes()).hexdigest()[:16]


def rows(app: str) -> list[list[str]]:
    return table(section(DOCUMENT.read_text(encoding="utf-8"), app), "migration")


def test_every_migration_is_listed_in_order_with_what_it_does() -> None:
    for app in sorted({name.split()[0] for name in FILES}):
        listed = rows(app)
        assert [f"{app} {row[0]}" for row in listed] == [n for n in FILES if n.startswith(f"{app} ")]
        assert all(len(cell) > 3 for row in listed for cell in row)


@pytest.mark.parametrize("name", FILES)
def test_landed_migration_is_not_edited(name: str) -> None:
    """Write another migration instead. ECP_UPDATE_BASELINES=1 fills in digests of rows that have none yet."""
    app, _, migration = name.partition(" ")
    if os.environ.get("ECP_UPDATE_BASELINES") == "1":
        text = DOCUMENT.read_text(encoding="utf-8")
        empty = re.compile(rf"^(\| `{migration}` \|.*\|) new \|$", re.MULTILINE)
        DOCUMENT.write_text(empty.sub(rf"\1 `{digest(name)}` |", text), encoding="utf-8")
    known = {row[0]: row[-1] for row in rows(app)}
    assert known[migration] == digest(name)
