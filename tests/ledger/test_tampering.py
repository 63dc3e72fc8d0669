"""Each kind of tampering of LEDGER section 15 on a live database: caught, named and placed.

The expectations are written out here from the design's table; that the demonstration itself calls a kind
caught is compared with them, not believed.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.models import Entry
from ledger.services.ingest import ingest
from ledger.services.tampering import demonstration, scratch
from ledger.services.tampering.demonstration import Verdict, judge, stage
from ledger.services.tampering.kinds import TAMPERINGS, Tampering
from ledger.services.tampering.scratch import clone, scratch_copy
from ledger.services.verification import verify_log
from tests.databases import TEMPLATE
from tests.ledger.core.sample_log import ORIGIN, sample_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django import DjangoDbBlocker

    from ledger.checkpointer import Checkpointer
    from ledger.services.tampering.scratch import Copy
    from tests.databases import Cluster
    from tests.people import People

pytestmark = pytest.mark.db

# The copy holds 7 entries of a log, then its own: the key at 7, decisions at 8 to 22, the bypass at 13.
# Its checkpoints have the sizes 11 and 23.
COPIED, OLD, N, BYPASS, SIZE = 7, 11, 16, 13, 23
# (number, title) -> what ledger_verify finds, kinds that must be among it, what the offline verifier finds
FOUND: dict[tuple[str, str], tuple[Verdict, set[str], Verdict | None]] = {
    ("M1", "a byte of an entry"): (
        Verdict("leaf_mismatch", place=N), {"chain_break", "signature_invalid", "root_mismatch"},
        Verdict("chain_break", place=N)),
    ("M2", "a column beside an entry"): (Verdict("projection_mismatch", place=N), set(), None),
    ("M3", "a leaf hash alone"): (Verdict("leaf_mismatch", place=N), set(), None),
    ("M4", "prev of one entry"): (
        Verdict("leaf_mismatch", place=N), {"chain_break", "root_mismatch"}, Verdict("chain_break", place=N)),
    ("M5", "an entry and its leaf hash"): (
        Verdict("chain_break", place=N), {"signature_invalid", "root_mismatch"},
        Verdict("chain_break", place=N)),
    ("M6", "all entries from one on, hashes too"): (
        Verdict("root_mismatch", bad_range=(OLD, SIZE)), set(),
        Verdict("root_mismatch", bad_range=(OLD, SIZE))),
    ("M7", "an entry deleted in the middle"): (
        Verdict("seq_gap", place=N), {"truncated", "head_mismatch"}, Verdict("seq_gap", place=N)),
    ("M8", "the last entries deleted"): (
        Verdict("truncated", place=SIZE - 3), set(), Verdict("truncated", place=SIZE - 3)),
    ("M9", "an entry inserted"): (
        Verdict("seq_duplicate", place=N), {"head_mismatch"}, Verdict("seq_duplicate", place=N)),
    ("M10", "two entries swapped"): (
        Verdict("seq_duplicate", place=N), {"seq_gap", "rcvd_backwards"}, Verdict("seq_duplicate", place=N)),
    ("M11", "a record stored twice"): (
        Verdict("duplicate_id", place=SIZE), set(), Verdict("duplicate_id", place=SIZE)),
    ("M12", "a position renumbered"): (
        Verdict("seq_gap", place=N), {"leaf_mismatch"}, Verdict("seq_gap", place=N)),
    ("M13", "a signature replaced"): (
        Verdict("leaf_mismatch", place=N), {"signature_invalid"}, Verdict("chain_break", place=N)),
    ("M13", "the signer's key swapped"): (
        Verdict("leaf_mismatch", place=N), {"key_unknown"}, Verdict("chain_break", place=N)),
    ("M14", "a checkpoint altered"): (
        Verdict("checkpoint_signature"), set(), Verdict("checkpoint_signature")),
    ("M14", "the newest checkpoint deleted"): (Verdict("truncated", place=OLD), set(), None),
    ("M15", "the head row"): (Verdict("head_mismatch"), set(), None),
    ("M16", "a row of the search projection"): (Verdict("projection_mismatch", place=N), set(), None),
    ("M17", "the row of a bypass removed"): (Verdict("projection_mismatch", place=BYPASS), set(), None),
    ("M18", "an entry of another log"): (
        Verdict("origin_mismatch", place=N), {"leaf_mismatch"}, Verdict("origin_mismatch", place=N)),
    ("M19", "letters decomposed (NFC to NFD)"): (
        Verdict("leaf_mismatch", place=N), {"signature_invalid"}, Verdict("chain_break", place=N)),
    ("M20", "a number rewritten (7 to 7.0)"): (
        Verdict("entry_syntax", place=N), {"leaf_mismatch"}, Verdict("entry_syntax", place=N)),
    ("M21", "a registered public key replaced"): (
        Verdict("registry_mismatch", place=COPIED), set(), None),
    ("M21", "the public key in its entry replaced"): (
        Verdict("leaf_mismatch", place=COPIED), {"registry_mismatch", "key_unknown"},
        Verdict("chain_break", place=COPIED)),
    ("M22", "the database rolled back to a backup"): (
        Verdict("restored_behind_checkpoint"), set(), Verdict("truncated", place=OLD)),
    ("M23", "two checkpoints, one size, two roots"): (
        Verdict("fork", bad_range=(OLD, SIZE)), {"root_mismatch"}, Verdict("fork", bad_range=(OLD, SIZE))),
    ("M24", "a flipped bit in a stored entry"): (
        Verdict("leaf_mismatch", place=N), {"signature_invalid", "root_mismatch"},
        Verdict("chain_break", place=N)),
    ("M25", "a trigger switched off"): (
        Verdict("trigger ledger_entry.ledger_entry_append_only"), set(), None),
    ("M25", "a trigger's function emptied"): (Verdict("function public.ledger_append_only()"), set(), None),
    ("M25", "a right granted"): (Verdict("table ledger_entry"), set(), None),
    ("M25", "another owner"): (Verdict("table ledger_checkpoint"), set(), None),
}  # fmt: skip


def same(found: Verdict, wanted: Verdict) -> bool:
    """Kind and place; the range too where it is the place."""
    if wanted.bad_range is not None and found.bad_range != wanted.bad_range:
        return False
    return (found.kind, found.place) == (wanted.kind, wanted.place)


@pytest.fixture(scope="module")
def copy(database_name: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Copy]:
    del database_name  # it made the template
    entries = sample_log(COPIED).entries
    with (
        django_db_blocker.unblock(),
        scratch_copy(origin=ORIGIN, entries=entries, now=utc_now(), template=TEMPLATE) as made,
    ):
        yield made


@pytest.fixture(autouse=True)
def _open_database(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


def test_copy_stands_where_the_table_says(copy: Copy) -> None:
    assert (copy.old_size, copy.target, copy.bypass, copy.size) == (OLD, N, BYPASS, SIZE)


def test_table_holds_all_25_kinds() -> None:
    assert {number for number, _ in FOUND} == {f"M{number}" for number in range(1, 26)}
    assert [(kind.number, kind.title) for kind in TAMPERINGS] == list(FOUND)


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda kind: f"{kind.number} {kind.title}")
def test_tampering_is_found_at_its_place(copy: Copy, tampering: Tampering) -> None:
    inside, others, offline = FOUND[tampering.number, tampering.title]
    outcome = stage(tampering, copy)
    assert same(outcome.inside, inside), outcome
    assert {inside.kind} | others <= set(outcome.inside.kinds)
    if offline is None:
        assert outcome.offline == Verdict()
    else:
        assert same(outcome.offline, offline), outcome
    assert outcome.is_caught


@pytest.mark.parametrize("judge_name", ["verify", "guard", "audit"])
def test_untouched_clone_raises_no_alarm(copy: Copy, judge_name: Any) -> None:
    untouched = Tampering("M0", "nothing", lambda _victim: None, "", judge=judge_name)
    with clone(copy) as database:
        inside, offline = judge(untouched, copy, database)
    assert (inside, offline) == (Verdict("ok", ("ok",)) if judge_name == "guard" else Verdict(), Verdict())


# --- the command


def demo(*arguments: str) -> str:
    out = StringIO()
    call_command("ledger_tamper_demo", *arguments, stdout=out)
    return out.getvalue()


def test_command_shows_a_real_log_and_leaves_it_alone(
    people: People, checkpointer: Checkpointer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "PREFIX", "ecp_scratch_shown_")  # apart from those of the tests above
    lines = [json.dumps(record).encode() for record in records(5)]
    assert ingest(log=people.log, lines=lines, actor="system:test", clock=utc_now).accepted == 5
    checkpointer.turn()
    before = list(Entry.objects.order_by("id").values_list("entry", "leaf_hash"))
    told = demo("--log", "acme", "--kind", "M7", "--kind", "M25")
    assert "a copy of ecp.local/log/acme" in told
    rows = [re.split(r" {2,}", line) for line in told.splitlines()]
    assert ["M7", "an entry deleted in the middle", "seq_gap at 14", "seq_gap at 14"] in rows
    assert ["M25", "a right granted", "table ledger_entry", "-"] in rows
    assert told.endswith("All 5 tamperings were found.\n")
    assert list(Entry.objects.order_by("id").values_list("entry", "leaf_hash")) == before
    assert verify_log(log=people.log).ok
    with cluster.connect() as admin:
        left = admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'ecp_scratch_shown_%'")
        assert left.fetchall() == []


def test_what_is_missed_is_told_and_the_exit_code_is_1(
    monkeypatch: pytest.MonkeyPatch, committed_db: str
) -> None:
    """A kind whose finding is another than the one it promises."""
    del committed_db
    promise = next(kind for kind in TAMPERINGS if kind.number == "M15")
    monkeypatch.setattr(demonstration, "TAMPERINGS", [replace(promise, kind="leaf_mismatch")])
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("ledger_tamper_demo", stdout=out)
    assert ended.value.code == 1
    assert "a sample log, as there is no log yet" in out.getvalue()
    assert "MISSED (head_mismatch)" in out.getvalue()
    assert out.getvalue().endswith("MISSED: 1 of 1 tamperings.\n")


def test_without_a_superuser_nothing_is_staged(
    monkeypatch: pytest.MonkeyPatch, committed_db: str, cluster: Cluster
) -> None:
    del committed_db
    login = {"USER": "ecp_migrator", "PASSWORD": cluster.password}
    for name, value in login.items():
        monkeypatch.setitem(connections["migrator"].settings_dict, name, value)
    connections["migrator"].close()
    with pytest.raises(CommandError, match="tampering takes a superuser") as refused:
        demo()
    assert refused.value.returncode == 2


def records(count: int) -> list[dict[str, str]]:
    return [
        {
            "id": new_uuid7(utc_now()),
            "agent": "pricing-bot",
            "action": "price.change",
            "explanation": f"Item {number} is cheaper elsewhere, so we follow.",
        }
        for number in range(count)
    ]
