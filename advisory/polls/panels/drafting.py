"""The form for a new poll, with help for the size of the sample. It writes a draft, which binds nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisory.polls.core import aggregate, bodies
from advisory.polls.panels.addresses import LIST, NEW, POLL, scope_of, url
from advisory.polls.panels.fields import POLL_FIELDS, filled, is_placed, poll_body_of
from advisory.polls.selectors import console
from advisory.polls.services import lifecycle
from ecp_project.api.throttling import take
from ecp_project.kernel.errors import BadRequest, EcpError
from ledger.models import Organisation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecp_project.kernel.panels import PanelContext

MARGINS = (5, 10, 15, 20, 30)
CONFIDENCES = (90, 95, 99)
SIZE_FIELDS = ("frame_size", "margin_pct", "confidence_of_size")


def form(about: PanelContext) -> dict[str, object]:
    return _shown(about, None) | {"decision": about.given.get("decision", "")}


def _shown(
    about: PanelContext, given: Mapping[str, str] | None, problem: EcpError | None = None
) -> dict[str, object]:
    askable = console.askable_agents(scope=scope_of(about))
    start = {"decision_id": about.given["decision"]} if given is None and "decision" in about.given else {}
    fields = filled(POLL_FIELDS, given, problem)
    if start:
        fields = filled(POLL_FIELDS, {field.name: field.start for field in POLL_FIELDS} | start)
    return {
        "fields": fields,
        "problem": problem,
        "general_problem": problem if problem and not is_placed(POLL_FIELDS, problem) else None,
        "askable": askable,
        "margins": MARGINS,
        "table": _table(askable),
        "size": {"frame_size": max(1, askable), "margin_pct": 10, "confidence_of_size": 95},
        "url": url(NEW, about),
        "list_url": url(LIST, about),
    }


def _table(askable: int) -> list[tuple[int, list[int]]]:
    """How many of today's agents to ask, by confidence and margin; nothing while there are none."""
    if not askable:
        return []
    return [
        (
            confidence,
            [
                aggregate.sample_size(frame=askable, margin=margin / 100, confidence=confidence / 100)
                for margin in MARGINS
            ],
        )
        for confidence in CONFIDENCES
    ]


def draft(about: PanelContext, form: Mapping[str, str]) -> str | Mapping[str, object]:
    """Write the draft, or with the other button work out a size and keep what was typed."""
    if form.get("do") == "size":
        return _sized(about, form)
    try:
        take("poll", str(about.scope.organisation_id))
        poll = lifecycle.poll_create(
            organisation=Organisation(id=about.scope.organisation_id),
            scope=scope_of(about),
            document=poll_body_of(form),
            created_by=about.actor,
            now=about.now,
        )
    except EcpError as problem:
        return _shown(about, form, problem)
    return url(POLL, about, poll=poll.id)


def _sized(about: PanelContext, form: Mapping[str, str]) -> Mapping[str, object]:
    size = {name: form.get(name, "") for name in SIZE_FIELDS}
    found = _shown(about, form) | {"size": size}
    numbers = [int(value) if value.isascii() and value.isdecimal() else -1 for value in size.values()]
    document = dict(zip(("frame_size", "margin_pct", "confidence_pct"), numbers, strict=True))
    try:
        bodies.checked(bodies.SIZE, document)
    except BadRequest as problem:
        return found | {"problem": problem, "size_problem": problem}
    n = aggregate.sample_size(
        frame=document["frame_size"],
        margin=document["margin_pct"] / 100,
        confidence=document["confidence_pct"] / 100,
    )
    return found | {"sized": n}
