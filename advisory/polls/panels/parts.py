"""Polls on the pages of others: overview, charts, records and the search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from advisory.polls.core.results import disclaimer
from advisory.polls.models import State
from advisory.polls.panels import words
from advisory.polls.panels.addresses import LIST, NEW, POLL, links, record_url, scope_of, url
from advisory.polls.panels.charts import bars_of
from advisory.polls.panels.pages import MAKERS
from advisory.polls.selectors import console
from ecp_project.kernel.clock import format_time
from ledger.sentences import actor_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from advisory.polls.models import Poll
    from ecp_project.kernel.panels import PanelContext

CHARTED = 10


def open_polls(about: PanelContext) -> Mapping[str, object]:
    return {"count": console.open_count(scope=scope_of(about)), "url": url(LIST, about)}


def closing_soon(about: PanelContext) -> Mapping[str, object] | None:
    soon = console.closing_soon(scope=scope_of(about), now=about.now)
    if not soon:
        return None
    target = url(POLL, about, poll=soon[0].id) if len(soon) == 1 else url(LIST, about)
    return {"count": len(soon), "url": target}


def distributions(about: PanelContext) -> Mapping[str, object] | None:
    """Polls closed in the range: share by option with its interval; the API gives the same figures."""
    assert about.since is not None, "a chart has a range"
    assert about.until is not None, "as above"
    polls = console.polls_closed(scope=scope_of(about), since=about.since, until=about.until, most=CHARTED)
    options = list(dict.fromkeys(one["option"] for poll in polls for one in (poll.results or {})["options"]))
    to = links(about)
    return {
        "polls": [
            {"poll": poll, "url": to(POLL, poll=poll.id), "bars": bars_of(poll.results or {})}
            for poll in polls
        ],
        "buckets": [_bucket(poll) for poll in polls],
        "series": [
            {"name": option, "values": [_estimate(poll, option) for poll in polls]} for option in options
        ],
    }


def _bucket(poll: Poll) -> dict[str, Any]:
    result = poll.results or {}
    assert poll.closed_at is not None, poll.id
    return {
        "poll_id": str(poll.id),
        "question": poll.question,
        "closed_at": format_time(poll.closed_at),
        "n": result["n"],
        "frame_size": result["frame_size"],
        "inconclusive": result["inconclusive"],
        "disclaimer": result["disclaimer"],
    }


def _estimate(poll: Poll, option: str) -> dict[str, Any] | None:
    for one in (poll.results or {})["options"]:
        if one["option"] == option:
            return {name: one[name] for name in ("count", "share", "low", "high")}
    return None


# --- records


def about_record(about: PanelContext) -> Mapping[str, object] | None:
    """Polls about this decision with what they found, and the way to a new one."""
    assert about.entry_id is not None, "a record's box is about one"
    scope = scope_of(about)
    polls = console.polls_about(scope=scope, entry_id=about.entry_id)
    uid = console.decision_at(scope=scope, entry_id=about.entry_id) if about.role in MAKERS else None
    if not polls and uid is None:
        return None
    to = links(about)
    return {
        "polls": [_told(to, poll) for poll in polls],
        "new_url": to(NEW, decision=uid) if uid else "",
        "now": about.now,
    }


def _told(to: Callable[..., str], poll: Poll) -> dict[str, object]:
    result = poll.results or {}
    drawn = sum(one["n"] for one in poll.strata)
    answered = console.deliveries_of(poll)["answered"] if poll.state == State.OPEN else 0
    return {
        "poll": poll,
        "url": to(POLL, poll=poll.id),
        "state": words.STATES[poll.state],
        "result": result,
        "bars": bars_of(result) if result else None,
        "drawn": drawn,
        "answered": answered,
        "disclaimer": result.get("disclaimer")
        or disclaimer(answered=answered, drawn=drawn, frame_size=poll.frame_size or 0),
    }


def lines(about: PanelContext) -> Mapping[str, object] | None:
    """Lines of the timeline: when polls about this record were committed, drawn and closed."""
    assert about.entry_id is not None, "a timeline is that of a record"
    polls = console.polls_about(scope=scope_of(about), entry_id=about.entry_id)
    said = {
        "committed": _("%(who)s committed to a poll about this decision"),
        "drawn": _("%(who)s drew who is asked"),
        "closed": _("%(who)s closed the poll: %(what)s"),
        "cancelled": _("%(who)s cancelled the poll"),
    }
    found = [
        {
            "said": said[step.name]
            % {
                "who": actor_in_words(step.stmt),
                "what": ((poll.results or {}).get("headline") or {}).get("text", ""),
            },
            "entry": step.entry,
            "at": step.entry.rcvd,
            "url": record_url(step.entry.uid),
            "text": {"committed": poll.question, "drawn": ""}.get(step.name, poll.reason),
        }
        for poll, step in console.steps_of(polls)
    ]
    return {"lines": found} if found else None


def asked_about(about: PanelContext) -> Mapping[str, object]:
    """Decisions about which agents were asked, for `has:poll`."""
    return {"uids": console.decisions_asked_about(scope=scope_of(about))}
