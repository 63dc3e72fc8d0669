"""Navigation, footer and help: what exists and may be seen, and nothing else."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from ecp_project.console import frame
from ecp_project.console.views.help import GLOSSARY, SHORTCUTS
from ecp_project.kernel.panels import Page, Registry
from ledger.models import Role
from tests.console.desk import CONSOLE, ROLES, decision, record, shown, signed_in
from tests.console.test_frame import check
from tests.people import person

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db
HELP = "/console/help/"
DECISIONS = "/console/ledger/decision/"


def groups(page: str) -> dict[str, list[str]]:
    nav = re.search(r'<nav id="console-nav".*?</nav>', page, re.DOTALL)
    assert nav is not None
    parts = re.split(r'<h2 id="nav-\d+">([^<]*)</h2>', nav[0])
    return {
        title: re.findall(r"<li><a [^>]*>([^<]*)</a></li>", body)
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_groups_hold_what_exists_in_the_order_of_importance(people: People) -> None:
    found = groups(shown(people.ada, CONSOLE))
    assert list(found) == ["Watch", "Record", "Prove", "Set up"]
    assert found["Watch"][:2] == ["Overview", "Analytics"]
    names = ["Decisions", "All entries", "Agents", "Data subjects"]
    assert [name for name in found["Record"] if name in names] == names
    assert {"Agent keys", "API keys", "Organisations", "Memberships"} <= set(found["Set up"])


@pytest.mark.parametrize("role", ROLES)
def test_every_link_leads_to_a_page_that_the_role_may_see(people: People, role: str) -> None:
    user = person("sam", people.acme, role)
    links = re.findall(r'<li><a href="(/console/[^"]*)"', shown(user, CONSOLE))
    assert len(links) >= 9
    for link in links:
        assert signed_in(user).get(link).status_code == 200, link


def test_what_a_role_may_not_see_is_not_offered(people: People) -> None:
    assert "Data subjects" not in groups(shown(people.ben, CONSOLE))["Record"]


@pytest.mark.parametrize(
    ("path", "current"),
    [
        (CONSOLE, "Overview"),
        ("/console/analytics/", "Analytics"),
        (DECISIONS, "Decisions"),
        ("/console/ledger/agent/", "Agents"),
        ("/console/ledger/organisation/", "Organisations"),
    ],
)
def test_the_current_page_is_marked_alone(people: People, path: str, current: str) -> None:
    assert re.findall(r'aria-current="page">([^<]*)</a></li>', shown(people.ben, path)) == [current]


def test_pages_of_apps_join_the_advice(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered page is offered as soon as its address is served, to the roles that it names."""
    registry = Registry()
    for path, title, permission in (
        ("help/", "Served", ""),
        ("nowhere/", "Not served", ""),
        ("analytics/", "For auditors", "auditor admin"),
    ):
        registry.add(Page(path, title, f"app.{path[:-1]}", 1, permission, "none.html", lambda _about: {}))
    monkeypatch.setattr(frame, "registry", registry)
    assert groups(shown(people.ben, CONSOLE))["Advice"] == ["Served"]
    auditor = person("otto", people.acme, Role.AUDITOR)
    assert groups(shown(auditor, CONSOLE))["Advice"] == ["For auditors", "Served"]


def test_footer_tells_origin_size_and_checkpoint(people: People, checkpointer: Checkpointer) -> None:
    def footer() -> str:
        found = re.search(r'<p class="state">(.*?)</p>', shown(people.ben, DECISIONS), re.DOTALL)
        assert found is not None
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", found[1])).strip()

    assert footer() == "ecp.local/log/acme · 0 entries · no checkpoint yet · ECP 2.2.0"
    record(people.log, decision())
    checkpointer.turn()
    assert re.fullmatch(
        r"ecp\.local/log/acme · 1 entry · checkpoint at 1, [0-9]+ s old · ECP 2\.2\.0", footer()
    )


def test_footer_follows_the_log_of_the_page_and_never_another_organisation_s(people: People) -> None:
    assert "ecp.local/log/umbra" not in shown(people.ben, HELP, log="umbra")
    people.ben.memberships.create(organisation=people.other, role=Role.VIEWER)
    assert "ecp.local/log/umbra" in shown(people.ben, DECISIONS, log="umbra")


def test_strangers_find_no_navigation_on_the_sign_in_page(people: People) -> None:
    del people
    page = Client().get("/console/login/").content.decode()
    assert "console-nav" not in page
    assert "ecp.local" not in page


def test_help_lists_keys_and_words(people: People) -> None:
    page = shown(people.ben, HELP)
    check(page)
    assert page.count("<kbd>") >= len(SHORTCUTS) + 4
    assert page.count("<dt>") == len(GLOSSARY)
    assert "<kbd>g</kbd> <kbd>d</kbd>" in page


def test_age_of_the_checkpoint_is_told(people: People, checkpointer: Checkpointer) -> None:
    record(people.log, decision())
    checkpointer.turn()
    later = people.log.checkpoints.get().created + timedelta(hours=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ecp_project.console.site.utc_now", lambda: later)
        assert "checkpoint at 1, 3 h old" in shown(people.ben, HELP)
