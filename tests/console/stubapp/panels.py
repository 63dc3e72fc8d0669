"""One panel for every slot, and a page. What they say is easy to find on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecp_project.kernel.errors import BadRequest, NotFound
from ecp_project.kernel.panels import Page, Panel, Slot, registry
from ledger.models import Entry

if TYPE_CHECKING:
    from ecp_project.kernel.panels import PanelContext

TEXT = "stubapp/text.html"


def say(slot: Slot) -> Panel:
    def load(about: PanelContext) -> dict[str, Any]:
        agents = ",".join(sorted(about.scope.agents or ()))
        return {"text": f"stub {slot.value} of log {about.log_id} {agents}"}

    return Panel(slot, f"stubapp.{slot.value}", 1, "", TEXT, load)


def column(about: PanelContext) -> dict[str, Any]:
    return {
        "title": "Stub column",
        "cells": {about.entry_ids[0]: {"text": f"cell of {len(about.entry_ids)}"}},
    }


def facet(about: PanelContext) -> dict[str, Any]:
    del about
    return {"key": "stub", "title": "Stub facet", "values": ["odd", "even"]}


def found(about: PanelContext) -> dict[str, Any]:
    """Decisions at odd or even positions."""
    if not set(about.values) <= {"odd", "even"}:
        raise BadRequest("bad_value", "stub is odd or even")
    rows = Entry.objects.filter(log_id=about.log_id)
    wanted = {("even", "odd").index(value) for value in about.values}
    return {"uids": [row.uid for row in rows if row.seq % 2 in wanted]}


def review(about: PanelContext) -> dict[str, Any]:
    return {"title": "Stub reviews", "items": [], "next_due_at": about.now}


def page(about: PanelContext) -> dict[str, Any] | None:
    if about.given.get("part") == "none":
        raise NotFound("not_found", "there is no such part")
    if about.given.get("part") == "broken":
        raise RuntimeError("secret detail")
    return {"text": f"stub page, part {about.given.get('part', 'first')}"}


for place in (
    Slot.NAV, Slot.OVERVIEW_TILE, Slot.OVERVIEW_CHART, Slot.ATTENTION, Slot.RECORD_ADVICE,
    Slot.RECORD_RESPONSIBILITY, Slot.TIMELINE, Slot.AGENT,
):  # fmt: skip
    registry.add(say(place))
registry.add(Panel(Slot.LIST_COLUMN, "stubapp.column", 1, "", TEXT, column))
registry.add(Panel(Slot.LIST_FACET, "stubapp.facet", 1, "", "", facet))
registry.add(Panel(Slot.QUERY_KEY, "stubapp.stub", 1, "", "", found))
registry.add(Panel(Slot.REVIEW, "stubapp.review", 1, "", "console/_review.html", review))
registry.add(Page("stub/", "Stub page", "stubapp.page", 1, "operator", TEXT, page, ("part",)))
