"""Reviews: what waits for a person, by the app that it belongs to, the oldest due first."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ecp_project.kernel.panels import Slot
from ledger.models import ErasureRequest, Role
from tests.console.desk import shown, signed_in
from tests.console.stubs import contributed, stub
from tests.console.test_frame import check
from tests.people import person

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecp_project.kernel.panels import Panel, PanelContext
    from ledger.models import Log
    from tests.people import People

pytestmark = pytest.mark.db
REVIEWS = "/console/reviews/"


def tabs(page: str) -> list[str]:
    nav = re.search(r'<nav class="pager tabs".*?</nav>', page, re.DOTALL)
    return re.findall(r">([^<>]+ \([\d?]+\))</a>", nav[0]) if nav else []


def inbox(*items: Mapping[str, object], **more: object) -> Panel:
    def load(_: PanelContext) -> dict[str, object]:
        return {"title": "Bypasses", "items": items, **more}

    return stub(load, slot=Slot.REVIEW, key="stub.bypasses", template="console/_review.html")


def asked(log: Log, days: int) -> ErasureRequest:
    return ErasureRequest.objects.create(
        log=log,
        uid=new_uuid7(utc_now()),
        basis="legal_order",
        requested_by=f"staff:{days}",
        requested_at=utc_now() - timedelta(days=days),
    )


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (Role.VIEWER, []),
        (Role.AUDITOR, ["Failed verifications (0)"]),
        (Role.OPERATOR, ["Failed verifications (0)", "Erasures awaiting approval (0)"]),
        (Role.ADMIN, ["Failed verifications (0)", "Erasures awaiting approval (0)"]),
    ],
)
def test_each_role_has_the_tabs_that_it_may_see(people: People, role: str, expected: list[str]) -> None:
    page = shown(person("sam", people.acme, role), REVIEWS)
    check(page)
    assert tabs(page) == expected
    assert ("your role decides nothing" in page) == (not expected)


def test_empty_inbox_says_so_and_when_the_next_item_falls_due(people: People) -> None:
    assert "Nothing waits here." in shown(people.ada, REVIEWS)
    with contributed(inbox(next_due_at=utc_now() + timedelta(days=3))):
        page = shown(people.ada, REVIEWS, tab="stub.bypasses")
    check(page)
    assert "Nothing waits here." in page
    assert "The next item falls due" in page
    assert f"{utc_now() + timedelta(days=3):%Y-%m-%d}" in page


def test_a_failed_verification_waits_until_a_sound_one(people: People) -> None:
    now = utc_now()
    people.log.verifications.create(started_at=now, ended_at=now, ok=False, first_bad_seq=1234)
    page = shown(people.ada, REVIEWS)
    check(page)
    assert "does not verify at position 1,234" in page
    assert "/console/integrity/?log=acme#runs" in page
    people.log.verifications.create(started_at=now + timedelta(seconds=1), ok=True)
    assert "Failed verifications (0)" in tabs(shown(people.ada, REVIEWS))


def test_items_come_oldest_due_first_and_those_without_a_date_last(people: People) -> None:
    for days in (2, 9, 5):
        asked(people.log, days)
    asked(people.other_log, 7)
    page = shown(people.ada, REVIEWS)
    assert re.findall(r"asked for by Staff member (\d)", page) == ["9", "5", "2"]
    now = utc_now()
    items: list[dict[str, object]] = [
        {"text": "item 1", "url": "/console/", "due_at": None},
        {"text": "item 2", "url": "/console/", "due_at": now + timedelta(days=1)},
        {"text": "item 3", "url": "/console/", "due_at": now - timedelta(days=1)},
    ]
    with contributed(inbox(*items)):
        page = shown(people.ada, REVIEWS, tab="stub.bypasses")
    check(page)
    assert re.findall(r"item \d", page) == ["item 3", "item 2", "item 1"]
    assert page.count("due since") == 1


def test_the_first_tab_with_work_is_opened(people: People) -> None:
    asked(people.log, 1)
    page = shown(people.ada, REVIEWS)
    assert 'aria-current="page">Erasures awaiting approval (1)</a>' in page


def test_a_tab_that_fails_leaves_the_others(people: People) -> None:
    def broken(_: PanelContext) -> dict[str, object]:
        raise RuntimeError("secret detail")

    asked(people.log, 1)
    with contributed(stub(broken, slot=Slot.REVIEW)):
        page = shown(people.ada, REVIEWS)
        failed = shown(people.ada, REVIEWS, tab="stub.box")
    assert "stub.box (?)" in tabs(page)
    assert "asked for by" in page
    assert "This part cannot be shown right now." in failed
    assert "secret detail" not in failed


@pytest.mark.parametrize(
    ("query", "status"), [({"tab": "none"}, 404), ({"colour": "red"}, 400), ({"log": "umbra"}, 404)]
)
def test_what_is_not_there_is_refused(people: People, query: dict[str, str], status: int) -> None:
    assert signed_in(people.ada).get(REVIEWS, query).status_code == status


def test_only_reading(people: People) -> None:
    assert signed_in(people.ada).post(REVIEWS).status_code == 405
