"""The database's catalogue against the one that the migrations leave behind (LEDGER section 15, M25).

Triggers, rights and functions guard the ledger only while they stand. A superuser can take them away without
a trace in any entry, so what must stand is a committed file, and what stands is read from the catalogue.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection

from ledger import metrics
from ledger.selectors.catalogue import catalogue_get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.selectors.catalogue import Catalogue

EXPECTATION = Path(__file__).resolve().parent.parent / "expected_catalogue.json"
VERSION = "ecp.db-catalogue/1"


class Finding(NamedTuple):
    """A difference in one member of one object; for an object as a whole `member` is empty."""

    category: str
    name: str
    member: str
    expected: str | None
    found: str | None

    def __str__(self) -> str:
        thing = f"{self.category} {self.name}"
        if not self.member:
            return f"{thing}: is missing" if self.found is None else f"{thing}: is not expected"
        if self.expected is None:
            return f"{thing}: {self.member} has {self.found}, which is not expected"
        if self.found is None:
            return f"{thing}: {self.member} lacks {self.expected}"
        return f"{thing}: {self.member} is {self.found}, expected {self.expected}"


def database_audit() -> list[Finding]:
    """Every difference between the database and the committed expectation; their number is a metric."""
    findings = catalogue_differences()
    metrics.DB_AUDIT_VIOLATIONS.set(len(findings))
    return findings


def catalogue_differences() -> list[Finding]:
    return list(differences(expected=expectation(), found=catalogue_get(connection)))


def expectation() -> Catalogue:
    document = json.loads(EXPECTATION.read_text(encoding="utf-8"))
    assert document.pop("v") == VERSION, f"{EXPECTATION.name} is of another version"
    found: Catalogue = document
    return found


def expectation_write() -> int:
    """Take the database as the expectation; returns how many objects it names."""
    catalogue = catalogue_get(connection)
    EXPECTATION.write_text(expectation_text(catalogue), encoding="utf-8")
    return sum(map(len, catalogue.values()))


def expectation_text(catalogue: Catalogue) -> str:
    """One object a line, so that a change of the schema reads as one in the file."""
    parts = [f' "v": {json.dumps(VERSION)}']
    for category, objects in catalogue.items():
        lines = ",\n".join(
            f"  {json.dumps(name)}: {json.dumps(members, sort_keys=True)}"
            for name, members in sorted(objects.items())
        )
        parts.append(
            f" {json.dumps(category)}: {{\n{lines}\n }}" if lines else f" {json.dumps(category)}: {{}}"
        )
    return "{\n" + ",\n".join(parts) + "\n}\n"


def differences(*, expected: Catalogue, found: Catalogue) -> Iterator[Finding]:
    for category in sorted(expected.keys() | found.keys()):
        wanted, there = expected.get(category, {}), found.get(category, {})
        for name in sorted(wanted.keys() | there.keys()):
            if name not in there:
                yield Finding(category, name, "", name, None)
            elif name not in wanted:
                yield Finding(category, name, "", None, name)
            else:
                yield from _members(category, name, wanted[name], there[name])


def _members(category: str, name: str, wanted: dict[str, Any], there: dict[str, Any]) -> Iterator[Finding]:
    for member in sorted(wanted.keys() | there.keys()):
        want, got = wanted.get(member), there.get(member)
        if want == got:
            continue
        if isinstance(want, list) and isinstance(got, list):
            yield from (Finding(category, name, member, item, None) for item in want if item not in got)
            yield from (Finding(category, name, member, None, item) for item in got if item not in want)
        else:
            yield Finding(category, name, member, json.dumps(want), json.dumps(got))
