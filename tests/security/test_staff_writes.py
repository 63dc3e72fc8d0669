"""Every form of the console that changes something, with real input: one act, one entry, or neither.

A new form is one line of WRITES. A route of tests/security/matrix.yml with a `W` cell that is neither there
nor in UNRECORDED fails.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import transaction

from ecp_project.api.permissions import ROLES
from ecp_project.console.models import EvidencePack, Export, Reveal, RevealSession
from ecp_project.kernel.clock import utc_now
from ledger.core.entry import parse_entry
from ledger.models import (
    Agent,
    AgentKey,
    ApiKey,
    Entry,
    ErasureRequest,
    Log,
    Membership,
    Organisation,
)
from ledger.selectors.actwords import act_in_words
from ledger.services.erasure import erasure_request
from tests.console.desk import annotation, decision, record, revealing, signed_in
from tests.people import person, staff_actor
from tests.security.test_matrix import PAGE_ROWS
from tests.security.writes import ANNOTATION, HANDLE, LOG, STAFF, TEXT, World, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.people import People

# What a write may touch, beside the log's own tables.
TABLES: list[Any] = [
    Agent, AgentKey, ApiKey, ErasureRequest, EvidencePack, Export, Log, Membership, Membership.agents.through,
    Organisation, Reveal, RevealSession,
]  # fmt: skip
TABLES += (
    model for app in apps.get_app_configs() if app.name.startswith("advisory.") for model in app.get_models()
)
# Forms of the apps that are installed; those of an app that is not have no rows in the table either.
APPS = [
    import_module(f"tests.security.{writes}")
    for app, writes in (("friction", "friction_writes"), ("polls", "poll_writes"))
    if apps.is_installed(f"advisory.{app}")
]


def note(kind: str) -> Callable[[World], dict[str, Any]]:
    return lambda _: {"kind": kind, "text": TEXT}


def agent_form(w: World) -> dict[str, Any]:
    told = {"slug": "stock-bot", "title": "Stock keeper", "status": "active"}
    return {"organisation": w.people.acme.pk, "labels": "{}", "initial-labels": "{}"} | told


def key_form(w: World) -> dict[str, Any]:
    return {"organisation": w.people.acme.pk, "agent": w.agent.pk, "title": "Shop floor",
            "scopes": ["decisions:write"]}  # fmt: skip


def member_form(w: World) -> dict[str, Any]:
    return {"user": w.newcomer.pk, "organisation": w.people.acme.pk, "role": "viewer"}


def organisation_form(_: World) -> dict[str, Any]:
    return {"title": "Acme Limited", "context_policy": '{"*": "strict@1"}', "initial-context_policy": "{}"}


def marked(action: str) -> Callable[[World], dict[str, Any]]:
    return lambda w: {"action": action, "entry": [w.decided.pk]}


def act(verb: str) -> Callable[[World], dict[str, Any]]:
    return lambda _: {"act": verb}


def revoked(w: World) -> dict[str, Any]:
    return {"action": "revoke", "_selected_action": [ApiKey.objects.get(organisation=w.people.acme).pk]}


def proposed(_: World) -> dict[str, Any]:
    return LOG | {"handle": HANDLE, "basis": "legal_order", "erasure_reason": TEXT}


def published(_: World) -> dict[str, Any]:
    return LOG | {"public": "yes", "reason": TEXT}


def asked_why(_: World) -> dict[str, Any]:
    return LOG | {"reason": TEXT}


def looked_up(_: World) -> dict[str, Any]:
    return LOG | {"handle": HANDLE, "reason": TEXT}


def annotating(page: str, role: str, kind: str, about: Callable[[World], list[Any]]) -> Write:
    return Write(page, role, kind, note(kind), about, TEXT, v=ANNOTATION)


WRITES = (
    annotating("ledger_decision_annotate", "operator", "note", lambda w: [w.decided.pk]),
    annotating("ledger_decision_annotate", "operator", "outcome", lambda w: [w.decided.pk]),
    annotating("ledger_decision_annotate", "manufacturer", "note", lambda w: [w.decided.pk]),
    annotating("ledger_entry_annotate", "auditor", "note", lambda w: [w.noted.pk]),
    annotating("ledger_staffaction_annotate", "operator", "note", lambda w: [w.acted.pk]),
    Write("ledger_decision_changelist", "manufacturer", "export.create", lambda _: {"format": "csv"}),
    Write("ledger_decision_changelist", "auditor", "export.create", marked("ndjson")),
    Write("ledger_decision_changelist", "operator", "evidence.create", marked("evidence")),
    Write("ledger_entry_changelist", "admin", "export.create", lambda _: {"format": "json"}),
    Write("console_evidence", "auditor", "evidence.create", lambda w: {"entry": [w.decided.pk]}),
    Write("reveal", "operator", "reveal.begin", asked_why, kept=TEXT),
    Write("reveal_end", "operator", "reveal.end", lambda _: {}, in_session=True, in_halt=302),
    Write("data_subjects", "auditor", "reveal.begin", looked_up, kept=HANDLE),
    Write("data_subject_pack", "auditor", "data_subject.pack", looked_up, in_session=True),
    Write("erasure_propose", "operator", "erasure.propose", proposed, kept=TEXT),
    Write("erasure_decide", "admin", "erasure.approve", act("approve"), lambda w: [w.proposal.pk]),
    Write("erasure_decide", "admin", "erasure.withdraw", act("withdraw"), lambda w: [w.proposal.pk]),
    Write("integrity_publication", "admin", "log.publish", published, kept=TEXT),
    Write("ledger_agent_add", "operator", "agent.register", agent_form, kept="Stock keeper"),
    Write("ledger_agent_change", "admin", "agent.change", agent_form, lambda w: [w.agent.pk], "Stock keeper"),
    Write("ledger_apikey_add", "admin", "apikey.create", key_form, kept="Shop floor"),
    Write("ledger_apikey_changelist", "admin", "apikey.revoke", revoked),
    Write("ledger_membership_add", "admin", "membership.register", member_form, kept="nina"),
    Write("ledger_membership_change", "admin", "membership.change", lambda _: {"role": "operator"},
          lambda w: [w.member("viewer").pk], 'value="operator" selected'),
    Write("ledger_organisation_change", "admin", "organisation.change", organisation_form,
          lambda w: [w.people.acme.pk], "Acme Limited"),
    *(write for app in APPS for write in app.WRITES),
)  # fmt: skip
UNRECORDED = {
    "integrity_verify": "it must work in HALT too, and its run is kept with the name of who asked",
    "saved_view_save": "a bookmark: it shows nobody more than his role lets him see",
    "password_change": "signing in must work in HALT too, and no organisation's log is whom it concerns",
}
for _app in APPS:
    UNRECORDED |= _app.UNRECORDED


@pytest.mark.unit
def test_every_route_that_somebody_acts_on_has_a_write_or_a_reason() -> None:
    acting = {row["page"].removeprefix("admin:") for row in PAGE_ROWS if "W" in {row[role] for role in ROLES}}
    assert acting == {write.page for write in WRITES} | UNRECORDED.keys()
    assert not {write.page for write in WRITES} & UNRECORDED.keys()


@pytest.mark.unit
def test_every_write_is_one_that_its_role_may_make() -> None:
    cells = {row["page"].removeprefix("admin:"): row for row in PAGE_ROWS if row["method"] == "POST"}
    for write in WRITES:
        assert cells[write.page][write.role] in {"W", "own"}, write.told


@pytest.mark.unit
def test_every_act_has_words() -> None:
    unnamed = {
        write.action for write in WRITES if write.v == STAFF and act_in_words(write.action) == write.action
    }
    assert unnamed == set()


# --- what they leave


@pytest.fixture
def world(people: People, checkpointer: Checkpointer, settings: Any, tmp_path: Path) -> World:
    settings.ECP_FILES_DIR = tmp_path / "files"
    (decided,) = record(people.log, decision(context={"customer": "Erika"}, data_subject=HANDLE))
    (noted,) = record(people.log, annotation(decided, TEXT))
    proposal = erasure_request(
        log=people.log, uid=decided.uid, basis="legal_order", requested_by=staff_actor(1), now=utc_now()
    )
    staff = {role: person(f"{role}-here", people.acme, role) for role in ROLES}
    Membership.objects.get(user=staff["manufacturer"]).agents.add(people.ada_agent.agent)
    opened = {role: revealing(staff[role], people.log) for role in ("auditor", "operator")}
    newcomer = get_user_model().objects.create_user("nina", is_staff=True)
    acted = Entry.objects.filter(log=people.log, kind=STAFF).earliest("seq")
    made = World(people, decided, noted, acted, proposal, staff, newcomer, opened)
    for app in APPS:
        app.furnish(made)
    checkpointer.turn()  # what is exported waits until the search knows it
    return made


def sent(world: World, write: Write) -> Any:
    browser = world.opened[write.role] if write.in_session else signed_in(world.staff[write.role])
    answer = browser.post(write.address(world), write.form(world))
    if answer.streaming:
        answer.getvalue()  # to the end, which also closes it; a second close would end the transaction
    return answer


def stored() -> dict[str, list[Any]]:
    """Every row that a write may touch, the log's entries included."""
    rows: dict[str, list[Any]] = {
        table.__name__: list(table._default_manager.order_by("pk").values_list()) for table in TABLES
    }
    return rows | {"entries": list(Entry.objects.order_by("id").values_list("id", flat=True))}


def said(stmt: Mapping[str, Any]) -> tuple[str, str]:
    """What was done, and by whom; who approves is named beside who proposed."""
    return stmt.get("action", stmt.get("kind", "")), stmt.get("approver", stmt["actor"])


@contextmanager
def taken_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


pytestmark = pytest.mark.db


def test_each_write_leaves_one_entry_and_none_when_it_is_rolled_back(world: World) -> None:
    before = stored()
    wrong: list[tuple[object, ...]] = []
    for write in WRITES:
        last = Entry.objects.filter(log=world.people.log).latest("seq").seq
        with taken_back():
            status = sent(world, write).status_code
            made = Entry.objects.filter(seq__gt=last, log=world.people.log).order_by("seq")
            left = [parse_entry(bytes(entry.entry)).stmt for entry in made]
            changed = stored()
        actor = f"staff:{world.member(write.role).pseudonym}"
        acts = [(stmt["v"], *said(stmt)) for stmt in left]
        if status not in {200, 302} or acts != [(write.v, write.action, actor)]:
            wrong.append((write.told, status, acts))
        elif write.page.endswith("_annotate"):
            continue  # the entry is all of it
        elif all(changed[name] == before[name] for name in before if name != "entries"):
            wrong.append((write.told, status, "was recorded and changed nothing"))
        assert stored() == before, f"{write.told}: something stays of what was rolled back"
    assert wrong == []


def test_a_halted_ledger_refuses_each_write_and_keeps_what_was_written(world: World) -> None:
    Log.objects.filter(pk=world.people.log.pk).update(mode="halt")
    before = stored()
    wrong: list[tuple[object, ...]] = []
    for write in WRITES:
        with taken_back():
            answer = sent(world, write)
            left = stored()
        page = "" if answer.streaming else answer.content.decode()
        if answer.status_code != write.in_halt:
            wrong.append((write.told, answer.status_code))
        elif left["entries"] != before["entries"]:
            wrong.append((write.told, "recorded"))
        elif write.in_halt == 503 and left != before:
            wrong.append((write.told, "changed something"))
        elif write.in_halt == 503 and not ("<code>ledger_halted</code>" in page and write.kept in page):
            wrong.append((write.told, f"the page lacks ledger_halted or {write.kept}"))
    assert wrong == []
