"""The list of what staff did: the same machinery as every list of a log, with columns of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from ecp_project.kernel.clock import utc_now
from ledger.models import Entry, Membership, Role
from ledger.services.projections import project_search
from ledger.services.staff import staff_act
from tests.console.desk import CONSOLE, decision, record, shown, signed_in
from tests.console.test_frame import check
from tests.people import person

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db
STAFF = "/console/ledger/staffaction/"


def act(people: People, action: str = "agent.change", object_: str = "agent:pricing-bot") -> Entry:
    me = Membership.objects.get(user=people.ada)
    with transaction.atomic():
        receipt = staff_act(
            organisation=people.acme,
            actor=f"staff:{me.pseudonym}",
            action=action,
            object_=object_,
            now=utc_now(),
            detail={"fields": "title"},
        )
    assert receipt is not None
    return Entry.objects.get(log=people.log, seq=receipt.stored.seq)


def cells(page: str) -> list[list[str]]:
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    rows = re.findall(r"<tr>.*?</tr>", body, re.DOTALL)
    return [[plain(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)] for row in rows]


def plain(cell: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", "", cell).split())


def test_list_tells_who_did_what_with_what(people: People) -> None:
    record(people.log, decision())
    entry = act(people)
    act(people, "export.create", "export:<b>7</b>")
    page = shown(people.ben, STAFF)
    check(page)
    assert cells(page) == [
        ["ada", "took an export export.create", "export:&lt;b&gt;7&lt;/b&gt;", "", str(entry.seq + 1)],
        ["ada", "changed an agent agent.change", "agent:pricing-bot", "", str(entry.seq)],
    ]
    assert "Lowered the price" not in page
    assert 'href="/console/ledger/entry/?log=acme&amp;q=kind%3Aecp.staff%2F1"' in page


def test_list_is_walked_by_key_and_counts_nothing(people: People) -> None:
    for number in range(30):
        act(people, object_=f"agent:bot-{number}")
    browser = signed_in(people.ben)
    address, seen = f"{STAFF}?n=25", []
    with CaptureQueriesContext(connection) as asked:
        while address:
            page = browser.get(address).content.decode()
            seen += [row[2] for row in cells(page)]
            older = re.search(r'rel="next" href="(\?[^"]*)"', page)
            address = f"{STAFF}{older[1].replace('&amp;', '&')}" if older else ""
    assert seen == [f"agent:bot-{number}" for number in range(29, -1, -1)]
    of_entries = [row["sql"] for row in asked if '"ledger_entry"' in row["sql"]]
    assert of_entries
    assert not [sql for sql in of_entries if "COUNT(" in sql or "OFFSET" in sql or "DISTINCT" in sql]


def test_words_narrow_the_list(people: People) -> None:
    act(people)
    act(people, "key.revoke", "agentkey:x")
    while project_search(log_id=people.log.id):
        pass
    assert [row[1] for row in cells(shown(people.ben, STAFF, q="key.revoke"))] == ["key.revoke key.revoke"]
    answer = signed_in(people.ben).get(STAFF, {"q": "colour:red"})
    assert answer.status_code == 400


def test_record_is_that_of_the_act_and_of_no_decision(people: People) -> None:
    (decided,) = record(people.log, decision())
    entry = act(people)
    page = shown(people.ben, f"{STAFF}{entry.pk}/change/")
    check(page)
    assert "agent:pricing-bot" in page
    assert "Staff actions</a>" in page
    browser = signed_in(people.ben)
    assert browser.get(f"{STAFF}{decided.pk}/change/").status_code == 404
    assert signed_in(people.eve).get(f"{STAFF}{entry.pk}/change/").status_code == 404
    assert "agent.change" not in shown(people.eve, STAFF)


def test_manufacturers_see_no_acts(people: People) -> None:
    entry = act(people)
    maker = person("mara", people.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(people.ada_agent.agent)
    assert "agent.change" not in shown(maker, STAFF)
    assert signed_in(maker).get(f"{STAFF}{entry.pk}/change/").status_code == 404


@pytest.mark.parametrize(("path", "status"), [(STAFF, 405), (f"{STAFF}add/", 403)])
def test_nobody_adds_or_exports_here(people: People, path: str, status: int) -> None:
    forms: list[dict[str, Any]] = [{}, {"format": "csv"}, {"action": "delete_selected"}]
    for form in forms:
        assert signed_in(people.ada).post(path, form).status_code == status


def test_overview_leads_to_the_list(people: People) -> None:
    record(people.log, decision())
    for number in range(6):
        act(people, object_=f"agent:bot-{number}")
    page = shown(people.ben, CONSOLE)
    assert len(re.findall(r"agent:bot-\d", page)) == 5
    assert f'href="{STAFF}?log=acme"' in page
