"""The table of LEDGER section 12, row by row: what the checkpointer finds at its start, and what follows."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from ledger.services.tampering.kinds import Victim
from ledger.services.tampering.scratch import (
    checkpointer,
    clone,
    lift_guards,
    scratch_copy,
    superuser_connect,
)
from tests.databases import TEMPLATE
from tests.ledger.core.sample_log import ORIGIN, START, sample_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import DjangoDbBlocker

    from ledger.services.tampering.scratch import Copy

    Anchors = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]

pytestmark = pytest.mark.db


@pytest.fixture(scope="module")
def copy(database_name: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Copy]:
    del database_name  # it made the template
    with (
        django_db_blocker.unblock(),
        scratch_copy(origin=ORIGIN, entries=sample_log(5).entries, now=START, template=TEMPLATE) as made,
    ):
        yield made


@pytest.fixture
def database(copy: Copy, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    kept = copy.anchors.read_bytes()
    with django_db_blocker.unblock(), clone(copy) as name:
        yield name
    copy.anchors.write_bytes(kept)


def changed(**members: Any) -> Anchors:
    """The newest anchor with other members."""
    return lambda lines: [*lines[:-1], lines[-1] | members]


def as_it_is(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return lines


ROWS: dict[str, tuple[Anchors, int | None, str, str]] = {
    # found -> anchors, size that the database is cut to, verdict, mode
    "as anchored": (as_it_is, None, "ok", "active"),
    "ahead of the anchor": (lambda lines: lines[:-1], None, "ok", "active"),
    "another cluster, equal": (changed(system_identifier=7), None, "ok_restored", "active"),
    "another timeline, equal": (changed(timeline=99), None, "ok_restored", "active"),
    "another cluster, ahead": (
        lambda lines: [lines[0] | {"system_identifier": 7}], None, "ok_restored", "active"),
    "another cluster, behind": (
        changed(system_identifier=7), 9, "restored_behind_checkpoint", "halt"),
    "behind the anchor": (as_it_is, 9, "restored_behind_checkpoint", "halt"),
    "another root": (
        changed(root=sha256(b"another").hexdigest()), None, "anchor_root_mismatch", "halt"),
    "another root, another cluster": (
        changed(root=sha256(b"another").hexdigest(), system_identifier=7), None,
        "anchor_root_mismatch", "halt"),
    "an older root differs": (
        lambda lines: [lines[0] | {"root": sha256(b"another").hexdigest()}], None,
        "anchor_root_mismatch", "halt"),
    "not empty, no anchor": (lambda _lines: [], None, "no_anchor", "halt"),
    "not empty, the anchors are another log's": (
        lambda lines: [line | {"origin": "ecp.test/log/other"} for line in lines], None,
        "no_anchor", "halt"),
}  # fmt: skip


def verdict_and_mode(database: str) -> tuple[Any, ...] | None:
    with superuser_connect(database) as connection:
        row: tuple[Any, ...] | None = connection.execute(
            "SELECT verdict, mode FROM ledger_guard, ledger_log"
        ).fetchone()
    return row


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_row_of_the_table(copy: Copy, database: str, row: tuple[Anchors, int | None, str, str]) -> None:
    anchors, size, verdict, mode = row
    lines = [json.loads(line) for line in copy.anchors.read_text(encoding="utf-8").splitlines()]
    assert [line["size"] for line in lines] == [copy.old_size, copy.size] == [9, 21]
    copy.anchors.write_text("".join(json.dumps(line) + "\n" for line in anchors(lines)), encoding="utf-8")
    if size is not None:
        with superuser_connect(database) as connection, connection.transaction():
            lift_guards(connection)
            connection.execute("DELETE FROM ledger_checkpoint WHERE size > %s", (size,))
            Victim(connection, copy).cut(size)
    with checkpointer(copy, database) as process:
        assert process.turn() == 0
    assert verdict_and_mode(database) == (verdict, mode)


def test_empty_log_without_an_anchor_is_active(copy: Copy, database: str) -> None:
    with superuser_connect(database) as connection, connection.transaction():
        lift_guards(connection)
        for table in ("entry", "checkpoint", "guard"):
            connection.execute(f"DELETE FROM ledger_{table}")  # noqa: S608 - names from the line above
        connection.execute("UPDATE ledger_head SET size = 0, tip = sha256('')")
    copy.anchors.unlink()
    with checkpointer(copy, database) as process:
        assert process.turn() == 0
    assert verdict_and_mode(database) == ("ok", "active")


def test_sticky_finding_stays_when_the_anchor_comes_back(copy: Copy, database: str) -> None:
    """A person decides what happened meanwhile: the log stays halted, though the next comparison is good."""
    lines = copy.anchors.read_text(encoding="utf-8")
    copy.anchors.write_text("", encoding="utf-8")
    with checkpointer(copy, database) as process:
        process.turn()
    copy.anchors.write_text(lines, encoding="utf-8")
    with checkpointer(copy, database) as process:
        process.turn()
    assert verdict_and_mode(database) == ("ok", "halt")
