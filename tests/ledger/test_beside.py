"""Rows of other apps beside an entry: in the same transaction of the batcher, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import Conflict
from ecp_project.kernel.ids import new_uuid7
from ledger.core.statement import build_staff
from ledger.models import Cursor, Entry
from ledger.services.ledger import TransparencyLedger, plain_work

if TYPE_CHECKING:
    from ledger.rows import Work
    from tests.people import People

pytestmark = pytest.mark.db

INSERT = "INSERT INTO ledger_cursor (name, log_id, next_seq) VALUES (%s, %s, %s)"


def work(people: People, name: str, action: str = "test.beside") -> Work:
    now = utc_now()
    made = plain_work(
        build_staff(
            id_=new_uuid7(now),
            org=people.acme.slug,
            ts=now,
            actor="system:shell",
            action=action,
            object_=name,
        )
    )

    def beside(cursor: psycopg.Cursor[Any], seq: int) -> None:
        cursor.execute(INSERT, (name, people.log.id, seq))

    made.beside = beside
    return made


def rows() -> dict[str, int]:
    return dict(Cursor.objects.filter(name__startswith="beside").values_list("name", "next_seq"))


def test_entry_and_row_come_together_and_the_row_knows_its_position(people: People) -> None:
    one, other = work(people, "beside.one"), work(people, "beside.other")
    first, second = TransparencyLedger(people.log).append_together([one, other])
    assert second.seq == first.seq + 1
    assert rows() == {"beside.one": first.seq, "beside.other": second.seq}


def test_many_at_once_are_stored_as_well(people: People) -> None:
    works = [work(people, f"beside.{n}") for n in range(20)]  # as many as go by COPY
    stored = TransparencyLedger(people.log).append_together(works)
    assert rows() == {f"beside.{n}": one.seq for n, one in enumerate(stored)}


def test_a_repeat_stores_no_second_row(people: People) -> None:
    made, ledger = work(people, "beside.one"), TransparencyLedger(people.log)
    ledger.append_together([made])
    [again] = ledger.append_together([made])
    assert again.is_replay
    changed = work(people, "beside.two", "test.other")
    changed.uid = made.uid
    with pytest.raises(Conflict, match="id_reused"):
        ledger.append_together([changed])
    assert list(rows()) == ["beside.one"]


def test_where_the_row_cannot_be_the_entry_is_not_stored(people: People) -> None:
    before = Entry.objects.filter(kind="ecp.staff/1").count()
    made = work(people, "beside.one")
    made.beside = lambda cursor, seq: cursor.execute(INSERT, ("beside.one", None, seq))
    with pytest.raises(psycopg.errors.NotNullViolation):
        TransparencyLedger(people.log).append_together([made])
    assert Entry.objects.filter(kind="ecp.staff/1").count() == before
    assert rows() == {}
