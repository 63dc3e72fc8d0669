"""The menu above a list's rows: verify, evidence and export of what is marked, and nothing else."""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest

from ledger.core.entry import parse_entry
from ledger.models import Entry, Membership, Role
from tests.console.desk import DECISIONS, ENTRIES, decision, record, shown, signed_in
from tests.console.test_frame import check
from tests.people import person

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.databases import Cluster
    from tests.people import People

pytestmark = pytest.mark.db


@pytest.fixture
def made(people: People, checkpointer: Checkpointer, settings: Any, tmp_path: Path) -> list[Entry]:
    settings.ECP_FILES_DIR = tmp_path / "files"
    found = record(people.log, *[decision(f"Lowered the price of lamp {number}.") for number in range(4)])
    checkpointer.turn()
    return found


def do(user: Any, action: str, entries: Sequence[Entry], path: str = DECISIONS) -> Any:
    return signed_in(user).post(path, {"action": action, "entry": [entry.pk for entry in entries]})


def body(answer: Any) -> bytes:
    assert answer.status_code == 200, answer.content[:400]
    return b"".join(answer.streaming_content)


def test_marked_rows_are_verified_with_a_line_of_ticks_each(people: People, made: list[Entry]) -> None:
    answer = do(people.ben, "verify", made[:3])
    page = answer.content.decode()
    check(page)
    assert "All 3 records verify." in page
    assert page.count('class="verdict-verified"') == 3
    for name in ("Leaf", "Chain", "Path", "Signature"):
        assert page.count(f'<span class="tick-pass">{name}: pass</span>') == 3


def test_a_record_without_checkpoint_is_pending(people: People, made: list[Entry]) -> None:
    (late,) = record(people.log, decision())
    page = do(people.ben, "verify", [made[0], late]).content.decode()
    assert "1 record waits for a checkpoint; nothing has failed." in page
    assert page.count("Path: pending") == 1


def test_evidence_pack_holds_the_marked_rows(people: People, made: list[Entry]) -> None:
    with ZipFile(BytesIO(body(do(people.ada, "evidence", made[1:3])))) as pack:
        lines = pack.read("entries.ndjson").splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [made[1].seq, made[2].seq]


@pytest.mark.parametrize("path", [DECISIONS, ENTRIES])
def test_export_holds_the_marked_rows_and_says_which(people: People, made: list[Entry], path: str) -> None:
    *lines, manifest = body(do(people.ada, "ndjson", [made[3], made[0]], path)).splitlines()
    assert lines == [bytes(made[0].entry), bytes(made[3].entry)]
    positions = f"{made[0].seq}%2C{made[3].seq}"
    assert json.loads(manifest)["query"] == f"log=acme&positions={positions}"
    told = Entry.objects.filter(log=people.log, kind="ecp.staff/1").latest("seq")
    assert parse_entry(bytes(told.entry)).stmt["detail"]["query"].endswith(f"positions={positions}")


def test_rows_outside_the_list_are_not_exported_through_it(people: People, made: list[Entry]) -> None:
    answer = signed_in(people.ada).post(
        f"{DECISIONS}?q=%22lamp+1%22", {"action": "csv", "entry": [made[1].pk, made[2].pk]}
    )
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("action", "number", "status"),
    [("verify", 0, 400), ("delete_selected", 1, 400), ("", 1, 400), ("xlsx", 1, 400)],
)
def test_what_is_no_action_or_marks_nothing_is_refused(
    people: People, made: list[Entry], action: str, number: int, status: int
) -> None:
    assert do(people.ada, action, made[:number]).status_code == status
    assert Entry.objects.filter(log=people.log).count() == len(made)


def test_a_hundred_rows_are_the_most(people: People) -> None:
    form = {"action": "verify", "entry": list(range(1, 102))}
    answer = signed_in(people.ada).post(DECISIONS, form)
    assert answer.status_code == 400
    assert "at most 100 rows" in answer.content.decode()


def test_records_of_others_are_not_found(people: People, made: list[Entry]) -> None:
    for action in ("verify", "evidence", "csv"):
        assert do(people.eve, action, made[:1]).status_code == 404, action
    maker = person("mara", people.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(people.ada_agent.agent)
    assert do(maker, "verify", made[:1]).status_code == 200
    Membership.objects.get(user=maker).agents.clear()
    assert do(maker, "verify", made[:1]).status_code == 404


def test_menu_offers_what_the_role_may_do(people: People, made: list[Entry]) -> None:
    assert made

    def offered(user: Any) -> list[str]:
        page = shown(user, DECISIONS)
        check(page)
        menu = re.search(r'<select id="action".*?</select>', page, re.DOTALL)
        assert menu is not None
        return re.findall(r'value="([a-z]+)"', menu[0])

    assert offered(people.ben) == ["verify"]
    assert offered(people.ada) == ["verify", "evidence", "csv", "json", "ndjson"]
    for action in ("evidence", "csv"):
        assert do(people.ben, action, made[:1]).status_code == 403, action


def test_state_tells_how_many_have_cosigned(
    people: People, made: list[Entry], cluster: Cluster, database_name: str
) -> None:
    size = made[2].seq + 1
    with cluster.connect(database_name) as superuser:
        for witness in ("north", "south", "south"):
            superuser.execute(
                "INSERT INTO ledger_cosignature (log_id, size, witness, line, ts)"
                " VALUES (%s, %s, %s, 'l', now()) ON CONFLICT DO NOTHING",
                (people.log.pk, size, witness),
            )
    page = shown(people.ben, DECISIONS)
    check(page)
    cells = re.findall(r'<td class="state">(.*?)</td>', page)
    states = [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells]
    assert states == ["signed", *["signed 2 cosignatures"] * 3]
