"""The log in the header, which every page follows; and the strip above pages while it stands still."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ecp_project.console.stops import stop_of
from ecp_project.kernel.clock import utc_now
from ledger import modes
from ledger.models import Log, Membership, Role
from ledger.services.operations import mode_switch
from tests.console.desk import CONSOLE, DECISIONS, decision, record, record_path, shown, signed_in
from tests.console.test_frame import PAGES, check
from tests.people import person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.people import People

pytestmark = pytest.mark.db
ANALYTICS = "/console/analytics/"
AGENTS = "/console/ledger/agent/"
STANDS_STILL = "the ledger takes no new entries"


def chosen(page: str) -> str:
    """Slug of the log that the header names."""
    found = re.search(r'<form id="log-switch".*?</form>', page, re.DOTALL)
    assert found is not None
    if option := re.search(r'<option value="([^"]*)" selected>', found[0]):
        return option[1]
    (_organisation, slug) = re.findall(r"<bdi>([^<]*)</bdi>", found[0])
    return str(slug)


@pytest.fixture
def nina(people: People) -> User:
    """Admin of Acme and a viewer of Umbra."""
    user = person("nina", people.acme, Role.ADMIN)
    Membership.objects.create(user=user, organisation=people.other, role=Role.VIEWER)
    return user


def test_the_log_of_an_address_stays_for_pages_without_one(people: People, nina: User) -> None:
    record(people.other_log, decision(agent="eve-bot"))
    browser = signed_in(nina)
    assert chosen(browser.get(DECISIONS).content.decode()) == people.log.slug
    assert chosen(browser.get(DECISIONS, {"log": "umbra"}).content.decode()) == "umbra"
    for path in (DECISIONS, CONSOLE, ANALYTICS, "/console/integrity/", "/console/help/"):
        page = browser.get(path).content.decode()
        assert chosen(page) == "umbra", path
        assert "ecp.local/log/umbra" in page
    assert "eve-bot" in browser.get(DECISIONS).content.decode()


def test_positions_are_looked_up_in_the_chosen_log(people: People, nina: User) -> None:
    (theirs,) = record(people.other_log, decision(agent="eve-bot"))
    browser = signed_in(nina)
    browser.get(CONSOLE, {"log": "umbra"})
    answer = browser.get("/console/search/", {"q": str(theirs.seq)})
    assert answer.headers["Location"].endswith(f"/{theirs.pk}/change/")


def test_a_log_of_another_organisation_is_never_kept(people: People) -> None:
    browser = signed_in(people.ben)
    assert browser.get(DECISIONS, {"log": "umbra"}).status_code == 404
    assert "umbra" not in browser.get(CONSOLE).content.decode().lower()
    assert browser.get(CONSOLE, {"log": "\0"}).status_code == 404


def test_a_log_that_is_not_one_s_own_any_more_is_left(people: People, nina: User) -> None:
    browser = signed_in(nina)
    browser.get(CONSOLE, {"log": "umbra"})
    nina.memberships.filter(organisation=people.other).delete()
    assert chosen(browser.get(CONSOLE).content.decode()) == people.log.slug


def test_a_record_and_a_form_show_the_log_that_they_are_about(people: People, nina: User) -> None:
    (theirs,) = record(people.other_log, decision(agent="eve-bot"))
    browser = signed_in(nina)
    assert chosen(browser.get(record_path(theirs)).content.decode()) == "umbra"
    assert chosen(browser.get(f"{AGENTS}{people.eve_agent.agent.pk}/change/").content.decode()) == "umbra"
    assert chosen(browser.get(CONSOLE).content.decode()) == people.log.slug


@pytest.mark.parametrize(
    ("path", "leads_to", "kept"),
    [
        (f"{DECISIONS}?q=lamp&before=1099511627776", DECISIONS, ["q"]),
        (AGENTS, CONSOLE, []),
        (ANALYTICS, ANALYTICS, []),
    ],
)
def test_switching_stays_on_pages_that_follow(nina: User, path: str, leads_to: str, kept: list[str]) -> None:
    page = signed_in(nina).get(path).content.decode()
    form = re.search(r'<form id="log-switch" method="get" action="([^"]*)".*?</form>', page, re.DOTALL)
    assert form is not None
    assert form[1] == leads_to
    assert re.findall(r'type="hidden" name="([a-z]+)"', form[0]) == kept


def test_people_of_one_log_have_no_choice_but_see_where_they_are(people: People) -> None:
    page = shown(people.ben, CONSOLE)
    assert 'id="log-choice"' not in page
    assert chosen(page) == people.log.slug


def test_help_and_account_are_in_the_header(people: People) -> None:
    page = shown(people.ben, CONSOLE)
    header = page[page.index("<header") : page.index("</header>")]
    for text in ("Look up", "Help", "Log out", "Change password", "Toggle theme", "<bdi>ben</bdi>"):
        assert text in header


# --- a log that takes nothing


@pytest.fixture
def halted(people: People) -> People:
    record(people.log, decision())
    adam = person("adam", people.acme, Role.ADMIN)
    actor = f"staff:{Membership.objects.get(user=adam).pseudonym}"
    mode_switch(log=people.log, to="halt", reason="The disk is replaced", actor=actor, now=utc_now())
    return people


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_that_the_log_stands_still(halted: People, path: str) -> None:
    sara = person("sara", halted.acme, Role.ADMIN)
    page = signed_in(sara).get(CONSOLE + path).content.decode()
    check(page)
    (strip,) = re.findall(r'<section class="mode-strip".*?</section>', page, re.DOTALL)
    for text in (
        "HALT",
        STANDS_STILL,
        "stopped by adam",
        "The disk is replaced",
        "For you:",
        "/console/integrity/",
    ):
        assert text in strip, text
    assert f"{utc_now():%Y-%m-%d}" in strip


def test_who_halted_is_a_pseudonym_for_another_organisation_s_member(halted: People) -> None:
    Membership.objects.filter(user__username="adam").delete()
    assert "stopped by Staff member" in shown(halted.ben, CONSOLE)


def test_forms_that_write_are_switched_off_with_the_reason(halted: People) -> None:
    sara = person("sara", halted.acme, Role.ADMIN)
    entry = halted.log.entries.earliest("seq")
    for user, path, button in (
        (halted.ada, record_path(entry), 'class="button" disabled aria-describedby="note-refused"'),
        (sara, f"{AGENTS}add/", r'<fieldset disabled class="refused"'),
        (sara, f"{AGENTS}{halted.ada_agent.agent.pk}/change/", r'<fieldset disabled class="refused"'),
        (sara, "/console/ledger/apikey/", r'name="index" value="0" disabled'),
        (sara, DECISIONS, r'name="format" value="csv" disabled'),
    ):  # fmt: skip
        page = shown(user, path)
        assert button in page, path
        assert "Switched off while the ledger is in HALT" in page, path


def test_forms_work_while_the_log_does(people: People) -> None:
    adam = person("adam", people.acme, Role.ADMIN)
    for path in (f"{AGENTS}add/", "/console/ledger/apikey/", DECISIONS):
        page = shown(adam, path)
        assert "Switched off" not in page
        assert "mode-strip" not in page


def test_a_process_that_takes_nothing_says_so(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    halt = modes.Halt("ECP_LEDGER_MODE is HALT", utc_now(), is_sticky=True)
    monkeypatch.setattr(modes.process, "_forced", halt)
    page = shown(people.ben, CONSOLE)
    assert STANDS_STILL in page
    assert "ECP_LEDGER_MODE is HALT" in page


def test_a_restored_database_that_nobody_has_cleared_is_told(people: People) -> None:
    log = Log.objects.select_related("guard").get(pk=people.log.pk)
    assert stop_of(log) is None
    log.guard.verdict = "behind_checkpoint"
    stop = stop_of(log)
    assert stop is not None
    assert (stop.word, stop.since, stop.reason) == ("HALT", log.guard.at, "behind_checkpoint")


def test_a_log_without_a_guard_is_being_set_up(people: People) -> None:
    assert stop_of(Log(pk=9, slug="new", organisation=people.acme)) is None
