"""The timeline of a record: every entry that names it, as sentences, oldest first, in pages of 200."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction

from ecp_project.kernel.clock import utc_now
from ledger.models import Membership
from ledger.selectors import records
from ledger.services.projections import project_search
from ledger.services.staff import staff_act
from tests.console.desk import annotation, append, decision, record, record_path, shown
from tests.people import machine, person

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from ledger.models import Entry
    from tests.people import People

pytestmark = pytest.mark.db


@pytest.fixture
def entry(people: People) -> Entry:
    (made,) = record(people.log, decision())
    return made


def sentences(page: str) -> list[str]:
    found = re.search(r'<ol class="timeline">.*?</ol>', page, re.DOTALL)
    assert found is not None
    return re.findall(r"<strong><bdi>(.*?)</bdi></strong>", found[0])


def act(people: People, object_: str, **detail: Any) -> None:
    with transaction.atomic():
        staff_act(
            organisation=people.acme,
            actor="staff:0b6bb9a5-7dc6-4d55-8a2e-3f2f8f1f9a10",
            action="evidence.pack",
            object_=object_,
            now=utc_now(),
            **detail,
        )
    while project_search(log_id=people.log.id):
        pass


def test_record_alone_begins_with_its_decision_and_its_signature(
    entry: Entry, people: People, checkpointer: Checkpointer
) -> None:
    assert sentences(shown(people.ben, record_path(entry))) == ["Agent pricing-bot decided: price.change"]
    assert "not signed yet" in shown(people.ben, record_path(entry))
    checkpointer.turn()
    page = shown(people.ben, record_path(entry))
    assert sentences(page)[1:] == [f"The log signed it: checkpoint over {entry.seq + 1} entries"]
    assert "not signed yet" not in page


@pytest.mark.parametrize("kind", ["decision", "record", "entry"])
def test_acts_of_staff_that_name_it_are_told(entry: Entry, people: People, kind: str) -> None:
    act(people, f"{kind}:{entry.uid}", reason="The regulator asked for it.")
    page = shown(people.ben, record_path(entry))
    assert sentences(page)[-1] == "Staff member 0b6bb9a5 evidence.pack"
    assert "The regulator asked for it." in page


def test_acts_on_other_things_are_not_told(entry: Entry, people: People) -> None:
    act(people, "agent:pricing-bot")
    act(people, f"export:{entry.uid}")
    assert len(sentences(shown(people.ben, record_path(entry)))) == 1


def test_correction_is_called_one(entry: Entry, people: People) -> None:
    record(people.log, annotation(entry, "The price was 41 and not 40.", kind="correction"))
    assert sentences(shown(people.ben, record_path(entry)))[-1] == "The system (test) corrected the record"


def test_long_timeline_shows_the_newest_lines_and_leads_to_the_older(
    entry: Entry, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "LINES", 5)
    append(people.log, *[annotation(entry, f"Note number {number} of twelve.") for number in range(12)])
    while project_search(log_id=people.log.id):
        pass
    seen: list[str] = []
    pages: list[str] = []
    query: dict[str, str] = {}
    for _ in range(3):
        pages.append(shown(people.ben, record_path(entry), **query))
        found = re.findall(r"Note number (\d+) of twelve", pages[-1])
        assert found == sorted(found, key=int)
        seen = found + seen
        query = dict(re.findall(r"\?(lines_before)=(\d+)#timeline", pages[-1]))
    assert query == {}
    assert seen == [str(number) for number in range(12)]
    assert sentences(pages[-1])[0] == "Agent pricing-bot decided: price.change"


def test_lines_of_agents_that_are_not_assigned_stay_away(entry: Entry, people: People) -> None:
    other = machine(people.acme, "refund-bot")
    about = [{"rel": "related", "id": str(entry.uid)}]
    record(people.log, decision("A refund that follows.", agent=other.agent.slug, refs=about))
    record(people.log, annotation(entry, "The customer was told on the phone."))
    maker = person("mona", people.acme, "manufacturer")
    Membership.objects.get(user=maker).agents.set([people.ada_agent.agent])
    page = shown(maker, record_path(entry))
    assert "A refund that follows." not in page
    assert "The customer was told on the phone." in page
    assert "A refund that follows." in shown(people.ben, record_path(entry))


def test_neighbours_by_agent(people: People) -> None:
    machine(people.acme, "refund-bot")
    first, _, third = record(people.log, decision(), decision(agent="refund-bot"), decision())
    assert f'{first.id}/change/">Before, by this agent' in shown(people.ben, record_path(third))
    page = shown(people.ben, record_path(first))
    assert f'{third.id}/change/">After, by this agent' in page
    assert "Before, by this agent" not in page
