"""Public bytes of a record for verifiers: entry, the entry before, proof, and the verdict as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ledger.core.entry import leaf_hash, parse_entry
from ledger.core.note import Signer, Verifier
from ledger.core.proof import verify_proof
from ledger.models import Membership
from tests.console.desk import decision, record, record_path, signed_in
from tests.people import person
from tests.running_ledger import SEED

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from ledger.models import Entry
    from tests.people import People
    from tests.tampering import Flip, SuperuserRuns

pytestmark = pytest.mark.db
PARTS = ("raw", "previous", "proof", "verify")


@pytest.fixture
def pair(people: People, checkpointer: Checkpointer) -> list[Entry]:
    made = record(people.log, decision(), decision("Raised the price, as the stock ran out."))
    checkpointer.turn()
    return made


def get(user: Any, entry: Entry, part: str, **headers: str) -> Any:
    return signed_in(user).get(record_path(entry).replace("/change/", f"/{part}/"), headers=headers)


def test_bytes_are_a_file_and_never_a_page(pair: list[Entry], people: People) -> None:
    for part, ending in (("raw", "entry.json"), ("previous", "previous.json"), ("proof", "tlog-proof")):
        answer = get(people.ben, pair[1], part)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="acme-{pair[1].seq}.{ending}"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_proof_bytes_and_entry_verify_together(pair: list[Entry], people: People) -> None:
    entry, previous, proof = (get(people.ben, pair[1], part).content for part in PARTS[:3])
    key = Verifier(Signer(people.log.origin, SEED).vkey)
    assert verify_proof(proof.decode(), entry, key).size == pair[1].seq + 1
    assert parse_entry(entry).prev == leaf_hash(previous)


def test_damaged_entry_keeps_its_bytes_and_its_proof(pair: list[Entry], people: People, flip: Flip) -> None:
    flip(pair[1], 0)
    assert get(people.ben, pair[1], "raw").content.startswith(b'z"log"')
    assert get(people.ben, pair[1], "proof").status_code == 200


def test_first_entry_has_none_before_it(pair: list[Entry], people: People) -> None:
    assert pair[0].seq == 0
    assert get(people.ben, pair[0], "previous").status_code == 404


def test_proof_waits_for_a_checkpoint(people: People) -> None:
    (made,) = record(people.log, decision())
    answer = get(people.ben, made, "proof")
    assert (answer.status_code, answer.headers["Retry-After"]) == (409, "1")
    assert b"not_signed_yet" in answer.content


def test_stored_tree_that_gives_no_proof_is_told(
    pair: list[Entry], people: People, superuser_runs: SuperuserRuns
) -> None:
    assert pair[0].seq == 0
    superuser_runs("ledger_entry", "DELETE FROM ledger_entry WHERE seq = 0")
    assert get(people.ben, pair[1], "proof").status_code == 404


def test_verdict_for_programs(pair: list[Entry], people: People) -> None:
    found = get(people.ben, pair[1], "verify", Accept="application/json").json()
    assert (found["v"], found["verdict"], found["seq"]) == ("ecp.verify/1", "verified", pair[1].seq)
    assert [check["state"] for check in found["checks"]] == ["pass"] * 4
    assert set(found["checks"][0]) == {"name", "state", "got", "want"}
    assert found["checkpoint"]["size"] == pair[1].seq + 1
    assert 0 <= found["checkpoint"]["age_s"] < 600
    page = get(people.ben, pair[1], "verify", Accept="text/html").content.decode()
    assert page.count('class="tick-pass"') == 4
    assert "<html" not in page


def test_verdict_without_a_checkpoint(people: People) -> None:
    (made,) = record(people.log, decision())
    found = get(people.ben, made, "verify", Accept="application/json").json()
    assert (found["verdict"], found["checkpoint"]) == ("pending", None)


@pytest.mark.parametrize("part", PARTS)
def test_strangers_meet_nothing_and_nobody_posts(pair: list[Entry], people: People, part: str) -> None:
    assert get(people.eve, pair[0], part).status_code == 404
    path = record_path(pair[0]).replace("/change/", f"/{part}/")
    assert signed_in(people.ada).post(path).status_code == 405


def test_maker_of_an_assigned_agent_can_verify_its_record(pair: list[Entry], people: People) -> None:
    maker = person("mona", people.acme, "manufacturer")
    for part in PARTS:
        assert get(maker, pair[1], part).status_code == 404
    Membership.objects.get(user=maker).agents.set([people.ada_agent.agent])
    for part in PARTS:
        assert get(maker, pair[1], part).status_code == 200
