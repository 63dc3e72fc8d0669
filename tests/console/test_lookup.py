"""The look-up box and the short addresses: every name of a record opens it, for those who may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.test import Client

from ledger.models import Checkpoint, Membership, Role
from tests.console.desk import (
    CONSOLE,
    DECISIONS,
    ENTRIES,
    annotation,
    decision,
    record,
    record_path,
    shown,
    signed_in,
)
from tests.people import person

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from ledger.models import Entry
    from tests.people import People

pytestmark = pytest.mark.db
SEARCH = f"{CONSOLE}search/"


@pytest.fixture
def entries(people: People, checkpointer: Checkpointer) -> list[Entry]:
    made = record(people.log, decision("Lowered the price of the lamp."), decision("Raised it again."))
    made += record(people.log, annotation(made[0], "Sales of the lamp rose within a week."))
    record(people.other_log, decision("Somebody else's decision.", agent="eve-bot"))
    checkpointer.turn()
    return made


def names_of(entry: Entry) -> dict[str, str]:
    digest, host = bytes(entry.leaf_hash).hex(), "https://ecp.example"
    return {
        "position": str(entry.seq),
        "id": str(entry.uid),
        "id in capitals": f" {str(entry.uid).upper()} ",
        "hash": digest,
        "hash in capitals": digest.upper(),
        "urn": f"urn:uuid:{entry.uid}",
        "address of the API": f"{host}/api/v1/decisions/{entry.uid}/receipt/?x=1#y",
        "short address": f"{host}/console/d/{entry.uid}/",
        "short address by hash": f"{host}/console/h/{digest}/",
        "short address by position": f"{host}/console/l/acme/{entry.seq}/",
        "address of the record page": f"{host}{record_path(entry)}?verify=1#integrity",
        "path of the record page": record_path(entry),
    }


def led_to(people_user: object, text: str, **query: str) -> str:
    answer = signed_in(people_user).get(SEARCH, {"q": text} | query)
    assert answer.status_code == 302, answer.content
    target: str = answer.headers["Location"]
    return target


def test_every_name_of_a_record_opens_it(entries: list[Entry], people: People) -> None:
    for what, text in names_of(entries[1]).items():
        assert led_to(people.ben, text) == record_path(entries[1]), what


def test_annotation_opens_among_all_entries(entries: list[Entry], people: People) -> None:
    assert led_to(people.ben, str(entries[2].uid)) == f"{ENTRIES}{entries[2].id}/change/"


def test_root_of_a_checkpoint_leads_to_its_log(entries: list[Entry], people: People) -> None:
    assert entries
    checkpoint = Checkpoint.objects.filter(log=people.log).order_by("-size")[0]
    root = bytes(checkpoint.root).hex()
    assert led_to(people.ben, root) == "/console/integrity/?log=acme"
    assert led_to(people.eve, root) == f"{DECISIONS}?q={root}"


def test_position_counts_in_the_log_that_is_looked_at(entries: list[Entry], people: People) -> None:
    Membership.objects.create(user=people.ben, organisation=people.other, role=Role.VIEWER)
    there = people.other_log.entries.get(seq=0)
    assert led_to(people.ben, "0", log="umbra") == record_path(there)
    assert led_to(people.ben, "0", log="acme") == led_to(people.ben, "0") == record_path(entries[0])
    assert 'name="log" value="umbra"' in shown(people.ben, DECISIONS, log="umbra").split("user-tools")[0]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("lamp", "?q=lamp"),
        (" zone:operator lamp ", "?q=zone%3Aoperator+lamp"),
        ("99", "?q=99"),
        ("", ""),
        ("0" * 64, "?q=" + "0" * 64),
        ("urn:something:else", "?q=urn%3Asomething%3Aelse"),
        ("9" * 18, "?q=" + "9" * 18),
    ],
)
def test_all_other_text_is_the_query_of_the_decision_log(
    entries: list[Entry], people: People, text: str, query: str
) -> None:
    assert entries
    assert led_to(people.ben, text) == DECISIONS + query


def test_names_of_another_organisation_are_only_words(entries: list[Entry], people: People) -> None:
    for what, text in names_of(entries[0]).items():
        if what != "position":  # which counts in one's own log
            assert led_to(people.eve, text).startswith(f"{DECISIONS}?q="), what


@pytest.mark.parametrize(
    ("query", "status"),
    [("q=0&log=umbra", 404), ("q=0&log=nowhere", 404), ("q=a&q=b", 400), ("q=a&colour=red", 400)],
)
def test_wrong_look_up_is_a_page_of_the_problem(people: People, query: str, status: int) -> None:
    assert signed_in(people.ben).get(f"{SEARCH}?{query}").status_code == status


def short_addresses(entry: Entry) -> list[str]:
    digest = bytes(entry.leaf_hash).hex()
    return [f"{CONSOLE}{rest}/" for rest in (f"d/{entry.uid}", f"l/acme/{entry.seq}", f"h/{digest}")]


def test_short_addresses_lead_to_the_record(entries: list[Entry], people: People) -> None:
    for path in short_addresses(entries[0]):
        answer = signed_in(people.ben).get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, record_path(entries[0])), path


def test_short_addresses_of_others_are_as_unknown_as_those_of_nobody(
    entries: list[Entry], people: People
) -> None:
    nobody = ["d/019aaaaa-0000-7000-8000-000000000001", "l/acme/99", "l/nowhere/0", "h/" + "0" * 64]
    maker = person("mia", people.acme, Role.MANUFACTURER)
    for user in (people.eve, maker):
        for path in short_addresses(entries[0]):
            assert signed_in(user).get(path).status_code == 404, path
    for path in (*nobody, "h/" + "A" * 64, "h/00", "l/acme/-1", "l/acme/" + "9" * 20):
        assert signed_in(people.ben).get(f"{CONSOLE}{path}/").status_code == 404, path


def test_strangers_are_asked_to_sign_in_first(entries: list[Entry]) -> None:
    for path in (SEARCH, *short_addresses(entries[0])):
        answer = Client().get(path)
        assert answer.headers["Location"] == f"{CONSOLE}login/?next={path}"
