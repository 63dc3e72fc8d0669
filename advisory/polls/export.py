"""The answers of a closed poll as files: exact lines, and a table for spreadsheets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisory.polls import selectors
from advisory.polls.selectors import privacy
from ecp_project.kernel.csvtext import csv_row

if TYPE_CHECKING:
    from advisory.polls.models import Poll

COLUMNS = (
    "agent_id", "stratum", "choice", "confidence_pct", "rationale", "answered_at", "received_at", "manual",
    "response_sha256", "disclaimer",
)  # fmt: skip


def responses_jsonl(poll: Poll) -> bytes:
    """Give the very bytes whose SHA-256 is in the closed entry."""
    selectors.demand_closed(poll)
    return selectors.response_lines(list(selectors.counted_responses(poll)))


def responses_csv(poll: Poll) -> bytes:
    selectors.demand_closed(poll)
    said = (poll.results or {})["disclaimer"]
    acts = privacy.acts_of(poll)
    hidden = privacy.quoted(poll) if privacy.is_hidden(acts) else ""
    lines = [csv_row(COLUMNS)]
    for response in selectors.counted_responses(poll):
        document = selectors.response_document(response)
        payload = document["payload"]
        lines.append(
            csv_row(
                (
                    payload["agent_id"],
                    response.invitation.stratum,
                    payload["choice"],
                    payload["confidence_pct"],
                    privacy.in_place_of_it(acts[-1])
                    if hidden and payload["rationale"] == hidden
                    else payload["rationale"],
                    payload["answered_at"],
                    response.received_at,
                    response.entered_by is not None,
                    document["response_sha256"],
                    said,
                )
            )
        )
    return b"".join(lines)
