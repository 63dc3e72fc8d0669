"""Contributed panels: drawn where they belong, for whom they are, and never at the cost of the page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from prometheus_client import REGISTRY

from ecp_project.console.views import panels as drawing
from ecp_project.kernel.panels import PanelContext, Slot, registry
from tests.console.desk import decision, record, record_path, shown, signed_in
from tests.console.stubs import contributed, stub

if TYPE_CHECKING:
    from ledger.models import Entry
    from tests.people import People

pytestmark = pytest.mark.db


@pytest.fixture(autouse=True)
def _templates(settings: Any) -> None:
    """Add the folder of the stub's template."""
    (engine,) = settings.TEMPLATES
    folders = [*engine["DIRS"], Path(__file__).parent / "templates"]
    settings.TEMPLATES = [engine | {"DIRS": folders}]


@pytest.fixture
def entry(people: People) -> Entry:
    (made,) = record(people.log, decision())
    return made


def failures(key: str = "stub.box") -> float:
    return REGISTRY.get_sample_value("ecp_console_panel_failures_total", {"panel": key}) or 0


def test_panel_is_told_what_the_page_is_about(entry: Entry, people: People) -> None:
    asked: list[PanelContext] = []

    def load(about: PanelContext) -> dict[str, object]:
        asked.append(about)
        return {"title": "Level high", "text": "<b>one rule fired</b>"}

    with contributed(stub(load)):
        page = shown(people.ben, record_path(entry))
    assert "<h2>Level high</h2><p>&lt;b&gt;one rule fired&lt;/b&gt;</p>" in page
    (about,) = asked
    assert (about.log_id, about.entry_id) == (people.log.id, entry.id)
    assert (about.scope.organisation_id, about.scope.agents) == (people.acme.id, None)
    assert "Level high" not in shown(people.ben, record_path(entry))


def test_panel_with_nothing_to_show_leaves_nothing(entry: Entry, people: People) -> None:
    before = shown(people.ben, record_path(entry))
    with contributed(stub(lambda _: None)):
        assert shown(people.ben, record_path(entry)).count("<section") == before.count("<section")


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_panel_is_for_the_roles_that_it_names(entry: Entry, people: People, role: str) -> None:
    reader = {"viewer": people.ben, "operator": people.ada}[role]
    with contributed(stub(lambda _: {"title": "Only for some"}, permission="auditor operator")):
        assert ("Only for some" in shown(reader, record_path(entry))) is (role == "operator")


def test_panel_that_raises_is_a_box_and_the_page_stays(entry: Entry, people: People) -> None:
    def broken(_: PanelContext) -> dict[str, object]:
        raise RuntimeError("secret detail")

    before = failures()
    fine = stub(lambda _: {"title": "The next one"}, key="stub.next", order=2)
    with contributed(stub(broken), fine):
        answer = signed_in(people.ben).get(record_path(entry))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "This part cannot be shown right now." in page
    assert answer.headers["X-Request-ID"] in page
    assert "secret detail" not in page
    assert "The next one" in page
    assert "Lowered the price" in page
    assert failures() == before + 1


def test_query_that_fails_in_a_panel_takes_nothing_else_along(entry: Entry, people: People) -> None:
    def wrong(_: PanelContext) -> dict[str, object]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")
        raise AssertionError("the query went through")

    with contributed(stub(wrong)):
        page = shown(people.ben, record_path(entry))
    assert "This part cannot be shown right now." in page
    assert 'id="integrity"' in page


@pytest.mark.parametrize("by", ["a query", "computing"])
def test_panel_that_takes_too_long_is_a_box(
    entry: Entry, people: People, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "PATIENCE_S", 0.05)
    monkeypatch.setattr(drawing, "PATIENCE_SQL", "SET LOCAL statement_timeout = '50ms'")

    def slow(_: PanelContext) -> dict[str, object]:
        if by == "computing":
            until = time.monotonic() + 0.1
            while time.monotonic() < until:
                pass
        else:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(30)")
        return {"title": "Too late"}

    before, started = failures(), time.monotonic()
    with contributed(stub(slow)):
        page = shown(people.ben, record_path(entry))
    assert "This part cannot be shown right now." in page
    assert "Too late" not in page
    assert failures() == before + 1
    assert time.monotonic() - started < 20


def test_a_second_panel_of_the_same_name_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def discover(_: str) -> None:
        registry.add(stub(lambda _: None))

    monkeypatch.setattr("ecp_project.console.apps.autodiscover_modules", discover)
    with (
        contributed(stub(lambda _: None, slot=Slot.NAV)),
        pytest.raises(ImproperlyConfigured, match=r"stub\.box"),
    ):
        apps.get_app_config("console").ready()
