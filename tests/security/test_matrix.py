"""Every endpoint against every caller, as tests/security/matrix.yml says (SECURITY section 2)."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.test import Client
from django.urls import URLPattern, get_resolver, include, path, reverse

from ecp_project.api.permissions import ROLES, SCOPES, Deny, Public
from ecp_project.api.views import ApiView
from ecp_project.kernel import strict_yaml
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.models import Log, Membership
from tests.installation import PROJECT
from tests.ledger.signing import Pen, decision_statement, registered
from tests.ledger.test_append import decision, post
from tests.people import ALL_SCOPES, Machine, machine, person

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from ledger.checkpointer import Checkpointer
    from tests.people import People
    from tests.security.friction_requests import FrictionRequests
    from tests.security.poll_requests import PollRequests

_ALL: list[dict[str, Any]] = strict_yaml.load(
    (Path(__file__).parent / "matrix.yml").read_text(encoding="utf-8")
)
ROWS = [row for row in _ALL if "route" in row]
if not apps.is_installed("advisory.polls"):
    ROWS = [row for row in ROWS if not row["route"].startswith("poll-")]
FRICTION_ROUTES = {
    "advice-list", "advice-detail", "advice-bypass", "step-outcome", "ruleset-list", "ruleset-validate",
    "ruleset-version", "ruleset-state", "ruleset-diff", "standing-list", "standing-detail", "bypass-list",
    "bypass-review", "advisory-mode", "simulation-list", "simulation-detail", "calibration",
}  # fmt: skip
if not apps.is_installed("advisory.friction"):
    ROWS = [row for row in ROWS if row["route"] not in FRICTION_ROUTES]
PAGE_ROWS = [row for row in _ALL if "page" in row]  # tests/security/test_console_matrix.py
if not apps.is_installed("advisory.friction"):
    PAGE_ROWS = [row for row in PAGE_ROWS if not row["page"].startswith(("admin:friction_", "friction/"))]
if not apps.is_installed("advisory.polls"):
    PAGE_ROWS = [row for row in PAGE_ROWS if not row["page"].startswith("polls/")]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
COLUMNS = {"anonymous", *ROLES, "agent"}
CELLS = {"R", "W", "own", "-", 404}
LOG_ROUTES = (
    "log-detail", "log-entries", "proof-inclusion", "proof-consistency", "log-export", "static-checkpoint",
    "static-tile",
)  # fmt: skip
JSON, NDJSON = "application/json", "application/x-ndjson"


def name_of(row: dict[str, Any]) -> str:
    return f"{row['method']}-{row['route']}" + ("-public" if "log" in row else "")


def patterns() -> Iterator[tuple[str, str, Any]]:
    """Path, name and view of every address outside the console, whose pages have tests of their own."""

    def walk(resolver: Any, before: str) -> Iterator[tuple[str, str, Any]]:
        for pattern in resolver.url_patterns:
            place = before + str(pattern.pattern)
            if isinstance(pattern, URLPattern):
                yield place, pattern.name or "", pattern.callback
            else:
                yield from walk(pattern, place)

    for place, name, callback in walk(get_resolver(), ""):
        if not place.startswith("console/") and place != "^api/":  # the latter is the 404 of the API
            yield place, name, callback


def routes() -> Iterator[tuple[str, Any]]:
    return ((name, callback) for _, name, callback in patterns())


def methods_of(callback: Any) -> set[str]:
    view = getattr(callback, "view_class", None)
    return {"GET"} if view is None else {name for name in METHODS if hasattr(view, name.lower())}


def endpoints() -> set[tuple[str, str]]:
    return {(name, method) for name, callback in routes() for method in methods_of(callback)}


# --- the table itself


@pytest.mark.unit
def test_every_endpoint_has_a_row_and_every_row_an_endpoint() -> None:
    assert endpoints() == {(row["route"], row["method"]) for row in ROWS}


class Planted(ApiView):
    permission_classes = [Public]

    def get(self, request: Any) -> None: ...


urlpatterns = [
    path("", include("ecp_project.urls")),
    path("api/v1/planted/", Planted.as_view(), name="planted"),
]


@pytest.mark.unit
@pytest.mark.urls(__name__)
def test_new_endpoint_without_a_row_is_noticed() -> None:
    assert endpoints() - {(row["route"], row["method"]) for row in ROWS} == {("planted", "GET")}


@pytest.mark.unit
@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_row_is_complete(row: dict[str, Any]) -> None:
    assert set(row) - {"log"} == {"route", "method", "scope", "foreign"} | COLUMNS
    assert {row[column] for column in COLUMNS} <= CELLS
    assert row["scope"] is None or row["scope"] in SCOPES
    assert row["foreign"] in {404, "empty", "none", "open"}


def as_document() -> str:
    """Rows of the table in docs/SECURITY.md."""
    paths = {name: place for place, name, _ in patterns()}
    lines = []
    for row in ROWS:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", paths[row["route"]])
        endpoint = f"`{row['method']} /{path}`" + (" of a public log" if "log" in row else "")
        scope = f"`{row['scope']}`" if row["scope"] else ""
        cells = [row[column] for column in ("anonymous", *ROLES, "agent")]
        lines.append("| " + " | ".join(map(str, (endpoint, scope, *cells, row["foreign"]))) + " |\n")
    return "".join(lines)


@pytest.mark.unit
def test_document_shows_this_table() -> None:
    document = PROJECT / "docs" / "SECURITY.md"
    text = document.read_text(encoding="utf-8")
    head, rule, rest = text.partition("|---|---|---|---|---|---|---|---|---|---|\n")
    assert rule
    shown, gap, after = rest.partition("\n\n" if rest.startswith("|") else "\n")
    if os.environ.get("ECP_UPDATE_DOCS") == "1":
        document.write_text(head + rule + as_document() + "\n" + after, encoding="utf-8")
    else:
        assert f"{shown}\n" == as_document()
        assert gap == "\n\n"


@pytest.mark.unit
def test_every_view_names_its_permission() -> None:
    for name, callback in routes():
        view = getattr(callback, "view_class", None)
        if view is None:
            continue
        named = "permission_classes" in vars(view) or "get_permissions" in vars(view)
        inherited = [kind for kind in view.permission_classes if kind is Deny]
        assert named or not inherited, name


# --- what callers do


@dataclass(frozen=True, slots=True)
class World:
    """Acme's log with a signed decision of its agent, and callers from inside and outside."""

    people: People
    decision_id: str
    pen: Pen
    staff: dict[str, User]
    foreign_staff: dict[str, User]
    unassigned: User
    colleague: Machine
    polls: PollRequests | None
    friction: FrictionRequests | None


@pytest.fixture
def world(people: People, checkpointer: Checkpointer) -> World:
    uid = post(Client(), people, decision()).json()["id"]
    pen, _ = registered(people.ada_agent.agent, people.log)
    checkpointer.turn()
    staff = {role: person(f"{role}-here", people.acme, role) for role in ROLES}
    Membership.objects.get(user=staff["manufacturer"]).agents.add(people.ada_agent.agent)
    return World(
        people=people,
        decision_id=uid,
        pen=pen,
        staff=staff,
        foreign_staff={role: person(f"{role}-there", people.other, role) for role in ROLES},
        unassigned=person("other-maker", people.acme, "manufacturer"),
        colleague=machine(people.acme, "refund-bot"),
        polls=poll_requests(people, uid, pen),
        friction=friction_requests(people),
    )


def poll_requests(people: People, decision_id: str, pen: Pen) -> PollRequests | None:
    if not apps.is_installed("advisory.polls"):
        return None
    from tests.security.poll_requests import PollRequests  # noqa: PLC0415 - its models need the app

    return PollRequests(people, decision_id, pen)


def friction_requests(people: People) -> FrictionRequests | None:
    if not apps.is_installed("advisory.friction"):
        return None
    from tests.security.friction_requests import FrictionRequests  # noqa: PLC0415 - its models need the app

    return FrictionRequests(people)


def ask(world: World, row: dict[str, Any], client: Client, headers: Any = None, uid: str = "") -> Any:
    """The request of the row, about Acme's objects or, with `uid`, about a decision that nobody has made."""
    slug, agent = world.people.log.slug, world.people.ada_agent.agent.slug
    places: dict[str, dict[str, str]] = {
        **{
            f"decision-{part}": {"uid": uid or world.decision_id}
            for part in ("detail", "public", "receipt", "annotations", "erase")
        },
        **{name: {"slug": "no-such-log" if uid else slug} for name in LOG_ROUTES},
        "public-log": {"slug": slug},
        **{name: {"slug": slug, "seq": "0"} for name in ("public-entry", "public-proof")},
        "agent-detail": {"slug": "no-such-bot" if uid else agent},
        "dashboard-chart": {"chart": "agent-activity"},
    }
    queries = {"proof-inclusion": "?index=0", "proof-consistency": "?old=1", "ruleset-diff": "?against=1"}
    if world.polls is not None and row["route"].startswith("poll-"):
        places[row["route"]] = world.polls.place(row["route"], row["method"], uid)
    if world.friction is not None and row["route"] in FRICTION_ROUTES:
        places[row["route"]] = world.friction.place(row["route"], uid)
    kwargs: dict[str, Any] = places.get(row["route"], {}) | (
        {"path": "0/000.p/2"} if row["route"] == "static-tile" else {}
    )
    url = reverse(row["route"], kwargs=kwargs) + queries.get(row["route"], "")
    if row["method"] == "GET":
        return read(client.get(url, **(headers or {})))
    if row["method"] == "DELETE":
        return client.delete(url, **(headers or {}))
    bodies: dict[str, tuple[Any, str]] = {
        "decision-list": (json.dumps(decision()), JSON),
        "decision-batch": (json.dumps(decision()), NDJSON),
        "decision-annotations": (json.dumps({"kind": "note", "text": "Looked at it again."}), JSON),
        "decision-erase": (json.dumps({"basis": "legal_order"}), JSON),
        "log-entries": (world.pen.body(decision_statement()), JSON),
        "agent-list": (json.dumps({"slug": f"bot-{new_uuid7(utc_now())}"}), JSON),
    }
    if world.polls is not None and row["route"].startswith("poll-"):
        bodies[row["route"]] = (world.polls.body(row["route"], row["method"], uid).decode(), JSON)
    if world.friction is not None and row["route"] in FRICTION_ROUTES:
        bodies[row["route"]] = world.friction.body(row["route"])
    body, media_type = bodies[row["route"]]
    return client.generic(row["method"], url, body, content_type=media_type, **(headers or {}))


def read(answer: Any) -> Any:
    """Read the answer to its end, as clients do. An export left lying runs on, and only two run at once."""
    if answer.streaming:
        answer.getvalue()
    return answer


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def assert_done(answer: Any) -> None:
    assert answer.status_code in {200, 201, 202}, answer.reason_phrase if answer.streaming else answer.content


def assert_refused(answer: Any, *codes: str) -> None:
    assert (answer.status_code, answer.json()["code"]) in {(403, code) for code in codes}, answer.content


def assert_cell(cell: Any, answer: Any) -> None:
    if cell == "-":
        assert_refused(answer, "role_missing")
    elif isinstance(cell, int):
        assert answer.status_code == cell
    else:
        assert_done(answer)


def without_id(answer: Any) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "request_id"}


def assert_outside(row: dict[str, Any], world: World, answer: Any, unknown: Any) -> None:
    """What a caller meets who may do this, but not with Acme's (or this agent's) objects."""
    if row["foreign"] == 404:
        assert answer.status_code == unknown.status_code == 404, answer.content
        assert without_id(answer) == without_id(unknown)
    elif row["foreign"] == "empty":
        assert answer.status_code == 200
        for trace in (world.decision_id, "pricing-bot", world.people.log.origin):
            assert trace.encode() not in answer.content


pytestmark = pytest.mark.db


def shared_worlds() -> dict[str, list[dict[str, Any]]]:
    """Rows that need no world of their own: making one costs more than asking.

    Each row of polls moves agents and polls about, so it starts from nothing.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in ROWS:
        if row["route"].startswith("poll-"):
            name = name_of(row)
        else:
            name = "friction" if row["route"] in FRICTION_ROUTES else "ledger"
            name += f"-{row['method']}" + ("-public" if "log" in row else "")
        found.setdefault(name, []).append(row)
    found["ledger-POST"].sort(key=lambda row: bool(row["route"] == "decision-erase"))  # nothing comes after
    return found


SHARED = shared_worlds()


@pytest.mark.parametrize("name", SHARED)
def test_rows_hold_for_every_caller(name: str, world: World) -> None:
    wrong = [f"{name_of(row)}: {said}" for row in SHARED[name] if (said := fault_of(row, world))]
    assert not wrong, "\n".join(wrong)


def fault_of(row: dict[str, Any], world: World) -> str:
    try:
        holds_for_every_caller(row, world)
    except AssertionError as error:
        return str(error) or "an answer differs"
    return ""


def holds_for_every_caller(row: dict[str, Any], world: World) -> None:
    if row.get("log") == "public":
        Log.objects.filter(pk=world.people.log.pk).update(is_public=True)
    strangers_and_staff(row, world)
    staff_of_another_organisation(row, world)
    keys_of_the_agent(row, world)
    key_of_another_organisation(row, world)
    if row["manufacturer"] == "own":
        manufacturer_of_other_models(row, world)
    if row["agent"] == "own":
        key_of_another_agent(row, world)


def strangers_and_staff(row: dict[str, Any], world: World) -> None:
    answer = ask(world, row, Client())
    if row["anonymous"] == "-":
        assert (answer.status_code, answer.json()["code"]) == (401, "credentials_missing")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    else:
        assert_cell(row["anonymous"], answer)
    for role in ROLES:
        assert_cell(row[role], ask(world, row, signed_in(world.staff[role])))


def staff_of_another_organisation(row: dict[str, Any], world: World) -> None:
    agents = world.people.acme.agents.count()
    for role in ROLES:
        client = signed_in(world.foreign_staff[role])
        answer = ask(world, row, client)
        if row["foreign"] == "open":
            assert_done(answer)
        elif row[role] == "-":
            assert_refused(answer, "role_missing")
        elif row["foreign"] == "none":  # in their own organisation; Acme's agents are none of theirs
            assert answer.status_code in {200, 201, 202, 207, 403}
            assert world.people.acme.agents.count() == agents
        else:
            assert_outside(row, world, answer, ask(world, row, client, uid=new_uuid7(utc_now())))


def manufacturer_of_other_models(row: dict[str, Any], world: World) -> None:
    client = signed_in(world.unassigned)
    unknown = ask(world, row, client, uid=new_uuid7(utc_now()))
    assert_outside(row, world, ask(world, row, client), unknown)


def keys_of_the_agent(row: dict[str, Any], world: World) -> None:
    assert_cell(row["agent"], ask(world, row, Client(), world.people.ada_agent.headers))
    scopes = tuple(scope for scope in ALL_SCOPES if scope != row["scope"])
    bare = machine(world.people.acme, f"bare-bot-{new_uuid7(utc_now())}", scopes)
    answer = ask(world, row, Client(), bare.headers)
    if row["scope"] is None:
        assert_cell(row["agent"], answer)
    elif row["anonymous"] == "-":
        assert_refused(answer, "scope_missing")
    else:
        assert_cell(row["anonymous"], answer)


def key_of_another_organisation(row: dict[str, Any], world: World) -> None:
    headers = world.people.eve_agent.headers
    answer = ask(world, row, Client(), headers)
    if row["foreign"] == "open":
        assert_done(answer)
    elif row["agent"] == "-":
        assert_refused(answer, "role_missing")
    elif row["foreign"] == "none":
        assert_speaks_for_itself(answer)
    else:
        assert_outside(row, world, answer, ask(world, row, Client(), headers, uid=new_uuid7(utc_now())))


def key_of_another_agent(row: dict[str, Any], world: World) -> None:
    headers = world.colleague.headers
    answer = ask(world, row, Client(), headers)
    if row["foreign"] == "none":
        assert_speaks_for_itself(answer)
    else:
        assert_outside(row, world, answer, ask(world, row, Client(), headers, uid=new_uuid7(utc_now())))


def assert_speaks_for_itself(answer: Any) -> None:
    """The statement named Acme's pricing agent."""
    document = json.loads(answer.content.splitlines()[0])
    assert answer.status_code in {207, 403}
    assert document["type"] == "urn:ecp:problem:agent_not_allowed"


@pytest.mark.parametrize("who", ["anonymous", "admin", "agent"])
def test_other_methods_are_nobody_s(who: str, world: World) -> None:
    client = signed_in(world.staff["admin"]) if who == "admin" else Client()
    headers = world.people.ada_agent.headers if who == "agent" else {}
    for name, callback in routes():
        if getattr(callback, "view_class", None) is None or name in {"schema", "docs"}:
            continue
        row = next(row for row in ROWS if row["route"] == name)
        url = ask(world, row | {"method": "GET"}, Client()).request["PATH_INFO"]
        for method in {*METHODS, "OPTIONS", "TRACE"} - methods_of(callback):
            answer = client.generic(method, url, **headers)
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed"), (method, url)


def test_console_shows_strangers_the_way_in_and_nothing_else(world: World) -> None:
    del world

    def walk(resolver: Any, before: str) -> Iterator[str]:
        for pattern in resolver.url_patterns:
            place = before + str(pattern.pattern)
            if isinstance(pattern, URLPattern):
                yield place
            else:
                yield from walk(pattern, place)

    pages = [place for place in walk(get_resolver(), "") if place.startswith("console/")]
    assert len(pages) > 40
    for place in pages:
        if any(sign in place for sign in "^$"):
            continue
        place = re.sub("<uuid:[a-z_]+>", new_uuid7(utc_now()), place)  # noqa: PLW2901 - filled in
        place = re.sub("<[a-z_:]+>", "1", place)  # noqa: PLW2901 - filled in
        answer = Client().get(f"/{place}")
        if place == "console/login/":
            assert answer.status_code == 200
        elif place.startswith("console/stream/"):  # scripts ask, and a sign-in page is no answer for them
            assert (answer.status_code, answer.json()["code"]) == (401, "credentials_missing")
        else:
            assert answer.status_code == 302, place
            assert answer.headers["Location"].startswith(("/console/login/", "/console/")), place
