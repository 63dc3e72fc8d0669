"""Whether the quoted reason of a minority may be read, and the result as it is shown then.

The stored result and the answers stay as they were counted; what is hidden is left out where it is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisory.polls.models import Poll, PollMinorityAct
from ecp_project.kernel.clock import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def acts_of(poll: Poll) -> list[PollMinorityAct]:
    """In the order of the log: the last one counts. Where no reason is quoted there are none."""
    if not quoted(poll):
        return []
    return list(PollMinorityAct.objects.filter(poll=poll).order_by("number"))


def is_hidden(acts: Sequence[PollMinorityAct]) -> bool:
    return bool(acts) and acts[-1].hides


def quoted(poll: Poll) -> str:
    """The reason that the minority report quotes, hidden or not; empty where nobody gave one."""
    report = (poll.results or {}).get("minority_report") or {}
    return report.get("rationale") or ""


def shown(poll: Poll, acts: Sequence[PollMinorityAct]) -> dict[str, Any]:
    """The result of the poll; a report that was hidden once says by whom, when and why."""
    result: dict[str, Any] = poll.results or {}
    if not acts:
        return result
    report: Mapping[str, Any] = result["minority_report"]
    hidden = is_hidden(acts)
    return result | {
        "minority_report": {
            **report,
            "rationale": None if hidden else report["rationale"],
            "hidden": hidden,
            "acts": documents(acts),
        }
    }


def documents(acts: Sequence[PollMinorityAct]) -> list[dict[str, str]]:
    return [
        {
            "act": "hidden" if act.hides else "shown",
            "by": act.actor,
            "at": format_time(act.at),
            "reason": act.reason,
            "entry_id": str(act.id),
        }
        for act in acts
    ]


def in_place_of_it(act: PollMinorityAct) -> str:
    """What a table says where the hidden text stood."""
    return f"Hidden for privacy by {act.actor} on {format_time(act.at)}. Reason: {act.reason}"
