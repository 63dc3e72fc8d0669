"""Every address of the console, by method and role, as tests/security/matrix.yml says (SECURITY section 2).

Rows with `page` speak of people with a session. POST is asked with an empty form: whoever may act is told
what is missing, whoever may not is refused before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from ecp_project.api.permissions import ROLES
from ecp_project.console.models import RevealSession
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ecp_project.kernel.panels import Page, Slot, registry
from ledger.models import Entry, Membership
from tests.console.desk import revealing
from tests.console.furnished import furnish
from tests.console.pages import named_routes, places
from tests.console.stubs import contributed, stub
from tests.installation import PROJECT
from tests.people import person
from tests.security.test_matrix import PAGE_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.people import People

METHODS = ("GET", "POST")
OPEN = {"public", "public-log", "public-entry", "public-proof"}  # rows of their own, without a session
SIGNING_IN = {"admin:login", "admin:logout"}
ABOUT = {
    "polls/poll/": "?poll={poll_open}",
    "polls/sheet/": "?poll={poll_open}",
    "polls/step/": "?poll={poll_open}&step=close",
    "polls/by-hand/": "?poll={poll_open}",
    "polls/trend/": "?schedule={poll_schedule}",
}
FOR_SCRIPTS = {"admin:stream", "admin:stream_poll"}
# What a cell lets an answer be. A form that lacks something is shown again or named as a problem, and so is a
# preview of nothing; a part may have nothing to show, and a web process has no feed.
DONE = {
    "R": {200, 204, 302, 400, 409},
    "W": {200, 202, 302, 400, 409, 422},
    "own": {200, 302, 400},
    "-": {403},
    404: {404},
    405: {405},
}
REVIEW = "console/_review.html"  # an empty list will do
PAGE = Page("stub/", "Stub page", "stub.page", 1, "", REVIEW, lambda _: {"items": []})
PART = stub(lambda _: {"items": []}, slot=Slot.OVERVIEW_TILE, key="stub.tile", template=REVIEW)
UNKNOWN = 10**9


def rows() -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["page"], row["method"]): row for row in PAGE_ROWS}


def address(name: str, at: Mapping[str, Any]) -> str:
    """An address of the route, about an object of these places where it is about one."""
    if name.endswith("/"):
        return f"/console/{name}{ABOUT.get(name, '').format(**at)}"
    route = name.removeprefix("admin:")
    special: dict[str, list[Any]] = {
        "record": [at["uid"]],
        "position": [at["log"], at["seq"]],
        "hash": [at["hash"]],
        "saved_view": [at["view"]],
        "console_export_file": [at["export"]],
        "console_export_manifest": [at["export"]],
        "console_evidence_file": [at["pack"]],
        "view_on_site": [1, 1],
        "app_list": ["ledger"],
        "reveal_list": [at["session"]],
        "erasure_decide": [at["erasure"]],
        "panel": [PART.key],
        "contributed": [PAGE],
    }
    app, _, rest = route.partition("_")
    model = rest.partition("_")[0]
    if app == "friction":
        friction = {
            "frictionadvice": "advice", "frictionbypass": "bypass", "frictionrulesetversion": "version",
            "frictionduty": "duty", "notificationtarget": "target", "frictionsimulation": "simulation",
        }  # fmt: skip
        return reverse(
            name, args=[at[friction[model]]] if rest.endswith(("_change", "_delete", "_history")) else []
        )
    is_list = rest.endswith(("_changelist", "_add", "_facets"))
    if app in {"ledger", "auth"} and not is_list:
        return reverse(name, args=[at["act" if model == "staffaction" else model]])
    return reverse(name, args=special.get(route, []))


@pytest.mark.unit
def test_every_address_and_method_has_a_row_and_every_row_an_address() -> None:
    pages = {page.path for page in registry.pages()}
    names = named_routes() - OPEN - SIGNING_IN | pages
    wanted = {(name, method) for name in names for method in METHODS}
    assert set(rows()) == wanted


@pytest.mark.unit
def test_rows_are_complete() -> None:
    for row in PAGE_ROWS:
        assert set(row) == {"page", "method", "foreign", *ROLES}
        assert {row[role] for role in ROLES} <= set(DONE)
        assert row["foreign"] in {404, "as", "role"}


def as_document() -> str:
    """Rows of the table in docs/SECURITY.md."""
    cells = ("method", "page", *ROLES, "foreign")
    lines = []
    for row in PAGE_ROWS:
        shown = row | {"method": f"`{row['method']}`", "page": f"`{row['page'].removeprefix('admin:')}`"}
        lines.append("| " + " | ".join(str(shown[cell]) for cell in cells) + " |\n")
    return "".join(lines)


@pytest.mark.unit
def test_document_shows_this_table() -> None:
    document = PROJECT / "docs" / "SECURITY.md"
    text = document.read_text(encoding="utf-8")
    head, rule, rest = text.partition("\n|---|---|---|---|---|---|---|---|\n")
    assert rule
    _, _, after = rest.partition("\n\n")
    wanted = f"{head}{rule}{as_document()}\n{after}"
    if os.environ.get("ECP_UPDATE_DOCS") == "1":
        document.write_text(wanted, encoding="utf-8")
    else:
        assert text == wanted


@pytest.fixture
def at(people: People, checkpointer: Checkpointer, settings: Any, tmp_path: Path) -> dict[str, Any]:
    """What the addresses are about: objects of Acme, and files, views and sessions of one person there."""
    settings.ECP_FILES_DIR = tmp_path / "files"
    furnished = furnish(people, checkpointer)
    revealing(people.ada, people.log)
    decided = furnished.entries[0]
    return places(log=furnished.log, user=furnished.user) | {
        "decision": decided.pk,
        "seq": decided.seq,
        "uid": decided.uid,
        "hash": bytes(decided.leaf_hash).hex(),
        "session": RevealSession.objects.get().pk,
    }


def nothing_at() -> dict[str, Any]:
    """The same places, where nothing is and nothing ever was."""
    numbers = (
        "decision", "entry", "act", "agent", "agentkey", "apikey", "erasure", "organisation",
        "membership", "user", "group", "seq", "version", "duty", "target", "poll_open",
    )  # fmt: skip
    ids = {name: new_uuid7(utc_now()) for name in ("uid", "view", "export", "pack", "session")}
    ids |= {name: new_uuid7(utc_now()) for name in ("advice", "bypass", "simulation", "poll_schedule")}
    return dict.fromkeys(numbers, UNKNOWN) | ids | {"hash": "0" * 64, "log": "no-such-log"}


def everybody(people: People) -> tuple[dict[str, Client], dict[str, Client]]:
    """One browser for each role at Acme and at Umbra; Acme's manufacturer has made the pricing agent."""
    home = {role: session(person(f"{role}-here", people.acme, role)) for role in ROLES}
    maker = Membership.objects.get(organisation=people.acme, role="manufacturer")
    maker.agents.add(people.ada_agent.agent)
    home["unassigned"] = session(person("other-maker", people.acme, "manufacturer"))
    return home, {role: session(person(f"{role}-there", people.other, role)) for role in ROLES}


@pytest.mark.db
def test_rows_hold_for_every_role_at_home_and_elsewhere(people: People, at: dict[str, Any]) -> None:
    home, away = everybody(people)
    size = Entry.objects.filter(kind="ecp.staff/1").count()
    wrong = []
    with contributed(PAGE, PART):
        for (name, method), row in rows().items():
            url = address(name, at)
            stranger = Client().generic(method, url)
            if not is_shown_the_way_in(name, stranger):
                wrong.append((name, method, "anonymous", stranger.status_code))
            for role in ROLES:
                status = asked(home[role], method, url).status_code
                if status not in DONE[row[role]]:
                    wrong.append((name, method, role, status))
            for role in asked_away(row):
                status = asked(away[role], method, url).status_code
                if status not in (DONE[404] if is_unknown(row, role) else DONE[row[role]]):
                    wrong.append((name, method, f"{role} of another organisation", status))
            status = asked(home["unassigned"], method, url).status_code
            if row["manufacturer"] == "own" and status != 404:
                wrong.append((name, method, "manufacturer of other models", status))
    assert wrong == [], "\n".join(map(str, wrong))
    assert Entry.objects.filter(kind="ecp.staff/1").count() == size, "an empty form left an act on record"


def asked_away(row: dict[str, Any]) -> Iterable[str]:
    """Roles of another organisation. A page about nothing of Acme's asks for one of each cell in the row."""
    return {row[role]: role for role in ROLES}.values() if row["foreign"] == "as" else ROLES


def is_unknown(row: dict[str, Any], who: str) -> bool:
    """Another organisation's object is none to this person; a page closed to the role says only that."""
    return row["foreign"] == 404 or (row["foreign"] == "role" and row.get(who) != "-")


def is_shown_the_way_in(name: str, answer: Any) -> bool:
    if name in FOR_SCRIPTS:
        return (answer.status_code, answer.json()["code"]) == (401, "credentials_missing")
    return answer.status_code == 302 and "/console/login/" in answer.headers["Location"]


@pytest.mark.db
def test_nothing_tells_another_organisation_s_object_from_one_that_never_was(
    people: People, at: dict[str, Any]
) -> None:
    home, away = everybody(people)
    there, nowhere = at, nothing_at()
    differing = []
    for (name, method), row in rows().items():
        if row["foreign"] == "as":
            continue
        # The test above asks every role; three of them, and who sees a part of Acme, tell how it is said.
        askers = {role: away[role] for role in ("viewer", "operator", "admin")}
        if row["manufacturer"] == "own":
            askers["manufacturer of other models"] = home["unassigned"]
        for who, browser in askers.items():
            theirs, unknown = (asked(browser, method, address(name, found)) for found in (there, nowhere))
            statuses = {theirs.status_code, unknown.status_code}
            if statuses != {404 if is_unknown(row, who) else 403} or words_of(theirs) != words_of(unknown):
                differing.append((name, method, who, theirs.status_code, unknown.status_code))
    assert differing == [], "\n".join(map(str, differing))


def words_of(answer: Any) -> tuple[bytes, dict[str, str]]:
    """Everything that the answer says, save the request id and the second in which it was given."""
    id_ = answer.headers.get("X-Request-ID", "")
    assert id_
    headers = {
        name: value for name, value in answer.headers.items() if name not in {"X-Request-ID", "Expires"}
    }
    return answer.content.replace(id_.encode(), b"<request id>"), headers


def session(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def asked(client: Client, method: str, url: str) -> Any:
    answer: Any = client.generic(method, url, content_type="application/x-www-form-urlencoded")
    if answer.streaming:
        answer.getvalue()
        answer.close()
    return answer


@pytest.mark.db
@pytest.mark.parametrize("model", ["decision", "entry"])
def test_even_a_superuser_adds_changes_and_deletes_no_entry(
    people: People, checkpointer: Checkpointer, settings: Any, tmp_path: Path, model: str
) -> None:
    settings.ECP_FILES_DIR = tmp_path / "files"
    furnished = furnish(people, checkpointer)
    pk = furnished.entries[0].pk
    before = list(Entry.objects.order_by("id").values_list("id", "leaf_hash", "entry"))
    list_ = f"/console/ledger/{model}/"
    for url in (f"{list_}add/", f"{list_}{pk}/change/", f"{list_}{pk}/delete/"):
        assert asked(session(furnished.user), "POST", url).status_code == 403, url
    assert list(Entry.objects.order_by("id").values_list("id", "leaf_hash", "entry")) == before
