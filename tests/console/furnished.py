"""A ledger in which every page of the console has something to show, with hostile text in every field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth.models import Group

from ecp_project.kernel.clock import utc_now
from ledger.models import Agent, Log, Membership, Organisation
from ledger.services.erasure import erasure_request
from ledger.services.verification_runs import verification_request, verification_step
from tests.console.desk import DECISIONS, annotation, decision, record, signed_in
from tests.console.pages import places
from tests.ledger.signing import registered
from tests.people import person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from ledger.checkpointer import Checkpointer
    from ledger.models import Entry
    from tests.people import People

XSS = "<script>window.__xss=1</script><img src=x onerror=window.__xss=2>{{ 7|add:1 }} \u202ereversed"
LONG = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft" * 2


@dataclass(frozen=True, slots=True)
class Furnished:
    """`user` may see every page; `entries` are a plain decision, a hostile one and what was said of them."""

    user: User
    operator: User
    auditor: User
    log: Log
    entries: list[Entry]
    places: dict[str, object]


def overseer(organisation: Organisation) -> User:
    """An admin of one organisation who sees the pages of Django's own forms too."""
    made = person("otto", organisation, "admin")
    made.is_superuser = True
    made.save(update_fields=["is_superuser"])
    return made


def furnish(people: People, checkpointer: Checkpointer) -> Furnished:
    now, log, user = utc_now(), people.log, overseer(people.acme)
    Log.objects.filter(pk=log.pk).update(is_public=True)
    Organisation.objects.filter(pk=people.acme.pk).update(title=f"Acme {XSS}"[:100])
    Agent.objects.filter(pk=people.ada_agent.agent.pk).update(title=XSS[:100], owner=XSS[:100])
    mona = person("mona", people.acme, "auditor")
    registered(people.ada_agent.agent, log)
    entries = record(log, _plain(), _hostile(), *(_another(number) for number in range(55)))[:2]
    entries += record(
        log,
        annotation(entries[0], "The customer was told on the phone."),
        annotation(entries[0], XSS, kind="outcome", status="failure"),
        annotation(entries[1], XSS, kind="correction"),
    )
    checkpointer.turn()
    actor = f"staff:{Membership.objects.get(user=user).pseudonym}"
    erasure_request(
        log=log, uid=entries[0].uid, basis="data_subject_request", requested_by=actor, now=utc_now()
    )
    verification_request(log=log, requested_by=actor, now=now)
    verification_step(now=utc_now())
    if apps.is_installed("advisory.polls"):
        from tests.factories.polls import furnish_polls  # noqa: PLC0415 - its models need the app

        furnish_polls(people, entries[0].uid)
    checkpointer.turn()
    _hand_over(user, log, entries)
    if apps.is_installed("advisory.friction"):
        from tests.console.furnished_friction import furnish_friction  # noqa: PLC0415 - its models need the app

        furnish_friction(people, entries[0], f"{XSS} {LONG}")
    Group.objects.get_or_create(name=XSS[:100])
    return Furnished(user, people.ada, mona, log, entries, about(log, user, entries[1]))


def about(log: Log, user: User, shown: Entry) -> dict[str, object]:
    """Places of which the decision is the one to look at."""
    return places(log=log, user=user) | {"decision": shown.pk, "seq": shown.seq}


def _plain() -> dict[str, Any]:
    return decision(
        "Lowered the price, as the lamp sells slowly.",
        context={"customer": "Erika", "amount_eur": 12.5},
        explanation_detail="The customer had asked twice.",
        data_subject="customer-7",
        risk="high",
        zone="operator",
    )


def _hostile() -> dict[str, Any]:
    return decision(
        f"{XSS} {LONG}",
        model={"name": XSS, "version": XSS[:64]},
        subject={"type": "order", "ref": XSS},
        alternatives=[{"option": XSS, "reason": f"{LONG} {XSS}"}],
        context={"customer": XSS, "channel": LONG, "nested": {"deeper": [XSS, LONG]}},
        explanation_detail=XSS,
        data_subject=XSS,
        zone="uncertain",
    )


def _another(number: int) -> dict[str, Any]:
    return decision(
        f"Raised the price of article {number}, because the supplier asks for more since Monday, and the "
        "competition two streets further has done the same already.",
        risk=("low", "medium", "high", "critical")[number % 4],
        zone=("manufacturer", "operator", "uncertain")[number % 3],
    )


def _hand_over(user: User, log: Log, entries: list[Entry]) -> None:
    """Exports, evidence and saved views, made as a person makes them."""
    browser = signed_in(user)
    for format_ in ("csv", "ndjson"):
        answer = browser.post(f"{DECISIONS}?log={log.slug}&q=lamp", {"format": format_, "cols": ""})
        assert answer.getvalue()
        answer.close()
    pack = browser.post("/console/evidence/", {"entry": [entry.pk for entry in entries]})
    assert pack.getvalue().startswith(b"PK")
    pack.close()
    form = {"name": XSS[:60], "path": DECISIONS, "query": f"log={log.slug}&q=lamp"}
    assert browser.post("/console/views/save/", form).status_code == 302
