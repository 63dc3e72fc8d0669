"""What friction brings to the console's pages (CONSOLE section 9, FRICTION 10).

Without the app none of this is registered, so nothing of it stands anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from advisory.friction.models import Level
from advisory.friction.selectors import rates, shown, waiting
from advisory.friction.selectors.advice import decisions_of_rules
from advisory.friction.selectors.overview import outdated, overview
from advisory.friction.selectors.words import interval_words, share_words
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.panels import Page, Panel, Slot, registry
from ecp_project.kernel.privacy import sealed
from ledger.models import Log

if TYPE_CHECKING:
    from datetime import datetime

    from ecp_project.kernel.panels import PanelContext
    from ledger.selectors.entries import OrgScope

MOST, MOST_SHOWN = 200, 160
RULE_READERS = "viewer auditor operator admin"


def _scope(about: PanelContext) -> OrgScope:
    return cast("OrgScope", about.scope)  # the console hands over the ledger's own


def _range(about: PanelContext) -> dict[str, Any]:
    assert about.since is not None
    assert about.until is not None
    return {"scope": _scope(about), "since": about.since, "until": about.until}


# --- one record


def record_advice(about: PanelContext) -> dict[str, Any] | None:
    """The advice before a decision; on the page of an advice or a bypass, that advice."""
    assert about.entry_id is not None
    row = shown.advice_seen(scope=_scope(about), entry_id=about.entry_id)
    if row is None:
        return None
    told = shown.advice_shown(scope=_scope(about), row=row, actor=about.actor, opening=about.opening)
    return {"advice": told}


def record_timeline(about: PanelContext) -> dict[str, Any] | None:
    """What became of the advice of this decision, oldest first."""
    found = record_advice(replace(about, opening=sealed))  # no line holds a private value
    if found is None:
        return None
    advice: shown.AdviceShown = found["advice"]
    lines: list[tuple[datetime, str]] = [
        (
            advice.row.evaluated_at,
            _("%(level)s friction was suggested, %(score)d points")
            % {"level": advice.row.get_level_display(), "score": advice.row.score},
        )
    ]
    for step in advice.steps:
        for said in step.outcomes:
            row: Any = said.row
            told = {"n": step.n, "words": step.words, "outcome": row.get_outcome_display(), "who": said.who}
            lines.append((row.at, _("Step %(n)d, %(words)s: %(outcome)s, %(who)s") % told))
        for said in step.comments:
            row = said.row
            told = {"n": step.n, "who": said.who, "text": row.text}
            lines.append((row.at, _("Step %(n)d, comment by %(who)s: %(text)s") % told))
    for said in advice.bypasses:
        row = said.row
        told = {"who": said.who, "steps": ", ".join(map(str, row.steps)), "text": row.reason_text}
        lines.append((row.at, _("Bypassed steps %(steps)s, %(who)s: %(text)s") % told))
        if row.reviewed_at:
            lines.append(
                (
                    row.reviewed_at,
                    _("Bypass reviewed: %(verdict)s") % {"verdict": row.get_review_verdict_display()},
                )
            )
    lines.sort(key=lambda line: line[0])
    return {"lines": lines[:MOST], "advice": advice.row}


# --- overview


def _rates(about: PanelContext) -> list[rates.Rate]:
    return rates.by_level(**_range(about))


def bypass_tile(about: PanelContext) -> dict[str, Any]:
    """Of the advice that suggested steps, how much was bypassed."""
    found = [rate for rate in _rates(about) if rate.name != Level.LOW]
    both = rates.Rate("", sum(rate.advised for rate in found), sum(rate.bypassed for rate in found))
    return {"rate": both, "share": share_words(both), "interval": interval_words(both)}


def bypass_rate(about: PanelContext) -> dict[str, Any]:
    found = _rates(about)
    log = Log.objects.only("slug").get(pk=about.log_id)
    rows = [
        {
            "level": Level(rate.name),
            "rate": rate,
            "share": share_words(rate),
            "interval": interval_words(rate),
            "bar": rate.share_milli or 0,
            "url": _decisions(about, log.slug, f"friction:{rate.name} bypassed:true"),
        }
        for rate in found
    ]
    told = [f"{Level(rate.name).label}: {share_words(rate)}" for rate in found if rate.advised]
    return {
        "rows": rows,
        "sentence": _("Advice that was bypassed. %(told)s.") % {"told": "; ".join(told)}
        if told
        else _("No advice was given in this time."),
        "buckets": [format_time(_range(about)["since"])],
        "series": [
            series
            for rate in found
            for series in (
                {"name": f"{rate.name}.advised", "values": [rate.advised]},
                {"name": f"{rate.name}.bypassed", "values": [rate.bypassed]},
                {"name": f"{rate.name}.share_milli", "values": [rate.share_milli]},
                {"name": f"{rate.name}.low_milli", "values": [(rate.interval_milli or (None, None))[0]]},
                {"name": f"{rate.name}.high_milli", "values": [(rate.interval_milli or (None, None))[1]]},
            )
        ],
    }


def friction_heatmap(about: PanelContext) -> dict[str, Any]:
    """The most frequent actions by level; buckets are the actions, as the map has no time."""
    found = rates.by_action(**_range(about))
    log = Log.objects.only("slug").get(pk=about.log_id)
    most = max((rate.advised for _action, row in found for rate in row), default=0)
    return {
        "levels": Level,
        "rows": [
            {
                "action": action,
                "cells": [
                    {
                        "rate": rate,
                        "share": share_words(rate),
                        "shade": -(-5 * rate.advised // most) if most else 0,
                        "url": _decisions(about, log.slug, f'action:"{action}" friction:{rate.name}'),
                    }
                    for rate in row
                ],
            }
            for action, row in found
        ],
        "buckets": [action for action, _row in found],
        "series": [
            {"name": f"{level}.{what}", "values": [getattr(row[place], what) for _action, row in found]}
            for place, level in enumerate(Level.values)
            for what in ("advised", "bypassed", "share_milli")
        ],
    }


def _decisions(about: PanelContext, slug: str, terms: str) -> str:
    """The list of decisions narrowed to these terms and the range of the page."""
    given = _range(about)
    span = f"since:{format_time(given['since'])} until:{format_time(given['until'])}"
    return f"{reverse('admin:ledger_decision_changelist')}?{urlencode({'log': slug, 'q': f'{terms} {span}'})}"


def reviews_due(about: PanelContext) -> dict[str, Any] | None:
    number = waiting.reviews_overdue(scope=_scope(about), now=about.now)
    if not number:
        return None
    text = ngettext(
        "%(number)d bypass waits for its review longer than it should.",
        "%(number)d bypasses wait for their review longer than they should.",
        number,
    )
    return {"text": text % {"number": number}, "url": reverse("admin:friction_frictionbypass_changelist")}


def rules_outdated(about: PanelContext) -> dict[str, Any] | None:
    number = len(outdated(scope=_scope(about), now=about.now))
    if not number:
        return None
    text = ngettext(
        "%(number)d rule in force is past the day on which it should be looked at again.",
        "%(number)d rules in force are past the day on which they should be looked at again.",
        number,
    )
    return {"text": text % {"number": number}, "url": f"{reverse('admin:index')}friction/#rules"}


# --- what waits


def waiting_steps(about: PanelContext) -> dict[str, Any]:
    found = waiting.waiting_for(scope=_scope(about), actor=about.actor)
    items = []
    for one in found:
        advice = one.wait.advice
        told = {"words": one.words, "agent": advice.agent, "action": advice.action}
        text = _("%(words)s: %(agent)s wants %(action)s") % told
        # Of many equal steps this is what tells them apart.
        if explanation := advice.proposal.get("explanation"):
            text += f". {Truncator(explanation).chars(MOST_SHOWN)}"
        if one.is_unheld:
            text += " " + _("(nobody holds the duty %(role)s, so every operator may do it)") % {
                "role": one.wait.role
            }
        url = reverse("admin:friction_frictionadvice_change", args=[one.wait.advice_id])
        items.append({"text": text, "url": f"{url}#step-{one.wait.n}", "due_at": one.wait.due_at})
    return {"title": _("Waiting for a person"), "items": items}


def bypass_reviews(about: PanelContext) -> dict[str, Any]:
    """Bypasses to review; those that are not late are told as what falls due next."""
    items = [
        {
            "text": _("%(agent)s, %(action)s: %(reason)s")
            % {"agent": row.advice.agent, "action": row.advice.action, "reason": row.reason_text},
            "url": reverse("admin:friction_frictionbypass_change", args=[row.pk]),
            "due_at": row.review_due_at,
        }
        for row in waiting.reviews_open(scope=_scope(about))
    ]
    return {"title": _("Bypass reviews"), "items": items}


# --- agents and queries


def agent_advice(about: PanelContext) -> dict[str, Any]:
    [agent] = about.scope.agents or [""]
    found = _rates(about)
    url = f"{reverse('admin:friction_frictionadvice_changelist')}?{urlencode({'agent': agent})}"
    return {
        "rows": [{"level": Level(rate.name), "rate": rate, "share": share_words(rate)} for rate in found],
        "url": url,
    }


def rule_decisions(about: PanelContext) -> dict[str, Any]:
    return {"uids": decisions_of_rules(scope=_scope(about), rules=about.values)}


def page(about: PanelContext) -> dict[str, Any]:
    return {"overview": overview(now=about.now, **_range(about)), "role": about.role, "about": about}


for contributed in (
    Page("friction/", gettext_lazy("Friction"), "friction.page", 10, "", "friction/page.html", page),
    Panel(Slot.RECORD_ADVICE, "friction.advice", 10, "", "friction/_record.html", record_advice),
    Panel(Slot.TIMELINE, "friction.timeline", 10, "", "friction/_timeline.html", record_timeline),
    Panel(Slot.OVERVIEW_TILE, "friction.bypass_tile", 10, "", "friction/_tile.html", bypass_tile),
    Panel(Slot.OVERVIEW_CHART, "friction.bypass_rate", 10, "", "friction/_rates.html", bypass_rate),
    Panel(
        Slot.OVERVIEW_CHART, "friction.friction_heatmap", 11, "", "friction/_heatmap.html", friction_heatmap
    ),
    Panel(Slot.ATTENTION, "friction.reviews_due", 10, RULE_READERS, "friction/_attention.html", reviews_due),
    Panel(
        Slot.ATTENTION,
        "friction.rules_outdated",
        11,
        RULE_READERS,
        "friction/_attention.html",
        rules_outdated,
    ),
    Panel(Slot.REVIEW, "friction.waiting", 5, "", "console/_review.html", waiting_steps),
    Panel(Slot.REVIEW, "friction.bypass_reviews", 20, "auditor", "console/_review.html", bypass_reviews),
    Panel(Slot.AGENT, "friction.agent", 10, "", "friction/_agent.html", agent_advice),
    Panel(Slot.QUERY_KEY, "friction.rule", 10, "", "", rule_decisions),
):
    registry.add(contributed)
