"""The four kinds of statement that a poll leaves in the log (POLLS section 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisory.polls.core.aggregate import SILENCE
from advisory.polls.core.answers import MAX_OPTIONS, MIN_OPTIONS, OPTION_PATTERN
from advisory.polls.core.results import EXACT, STRATIFIED
from advisory.polls.core.sampling import MAX_FRAME
from ledger.core.fields import Choice, Explained, Flag, Integer, Items, Member, Members, Pattern, Text
from ledger.core.statement import (
    ACTOR,
    NOTHING,
    TIME,
    UUID,
    UUID7,
    Projection,
    StatementKind,
    register,
    statement_members,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMITTED, DRAWN = "ecp.poll.committed/1", "ecp.poll.drawn/1"
RESPONSE, CLOSED = "ecp.poll.response/1", "ecp.poll.closed/1"

HASH = Pattern(r"[0-9a-f]{64}")
OPTION = Pattern(OPTION_PATTERN)
AGENTS = Integer(0, MAX_FRAME)
PPM = Integer(0, 1_000_000)
STRATUM = Text(0, 500)
MAX_STRATA = 200

QUORUM = Members(
    Member("min_responses", AGENTS),
    Member("min_response_rate_pct", Integer(0, 100)),
    Member(
        "strata",
        Items(Members(Member("stratum", STRATUM), Member("min_responses", AGENTS)), maximum=MAX_STRATA),
        required=False,
    ),
)
COMMITTED_STATEMENT = statement_members(
    COMMITTED,
    Member("actor", ACTOR),
    Member("poll_id", UUID7),
    Member("question_hash", HASH),
    Member("options", Items(OPTION, minimum=MIN_OPTIONS, maximum=MAX_OPTIONS)),
    Member("frame_hash", HASH),
    Member("frame_size", Integer(1, MAX_FRAME)),
    Member(
        "strata",
        Items(
            Members(Member("stratum", STRATUM), Member("size", AGENTS), Member("n", AGENTS)),
            minimum=1,
            maximum=MAX_STRATA,
            key=lambda item: item["stratum"].encode(),
        ),
    ),
    Member("n", Integer(1, MAX_FRAME)),
    Member("commitment", HASH),
    Member("entropy", Choice("ledger")),
    Member("opens_at", TIME),
    Member("deadline", TIME),
    Member("quorum", QUORUM),
    Member("estimator", Choice("srs", "stratified")),
    Member("confidence_pct", Integer(50, 99)),
    Member("revisions", Choice("none", "last")),
    Member("schedule_id", UUID7, required=False),
    Member("advice_id", UUID, required=False),
    Member("decision_id", UUID, required=False),
)
DRAWN_STATEMENT = statement_members(
    DRAWN,
    Member("actor", ACTOR),
    Member("poll_id", UUID7),
    Member("secret", HASH),
    Member("public_input", Text(1, 200)),
    Member("seed", HASH),
    Member("sample_hash", HASH),
)
RESPONSE_STATEMENT = statement_members(
    RESPONSE,
    Member("actor", ACTOR),
    Member("poll_id", UUID7),
    Member("invitation_id", UUID7),
    Member("response_sha256", HASH),
    Member("received_at", TIME),
    Member("counted", Flag()),
    Member("supersedes", UUID7, required=False),
)
CLOSED_STATEMENT = statement_members(
    CLOSED,
    Member("actor", ACTOR),
    Member("poll_id", UUID7),
    Member("outcome", Choice("closed", "cancelled")),
    Member("reason", Explained(2_000), required=False),
    Member("early", Flag()),
    Member("tally", Items(Members(Member("option", OPTION), Member("count", AGENTS)), maximum=MAX_OPTIONS)),
    Member("silence", Members(*(Member(name, AGENTS) for name in SILENCE))),
    Member(
        "estimates",
        Items(
            Members(
                Member("option", OPTION),
                Member("method", Choice(EXACT, STRATIFIED)),
                Member("share_ppm", PPM),
                Member("low_ppm", PPM),
                Member("high_ppm", PPM),
            ),
            maximum=MAX_OPTIONS,
        ),
    ),
    Member("responses_root", HASH),
    Member("responses_file_sha256", HASH),
    Member("inconclusive", Flag()),
)
POLL_STATEMENTS = {
    COMMITTED: COMMITTED_STATEMENT,
    DRAWN: DRAWN_STATEMENT,
    RESPONSE: RESPONSE_STATEMENT,
    CLOSED: CLOSED_STATEMENT,
}

WORDS = {
    COMMITTED: "poll committed",
    DRAWN: "poll drawn",
    RESPONSE: "answer to a poll",
    CLOSED: "poll ended",
}


def _project(stmt: Mapping[str, Any]) -> Projection:
    """Only the commitment names the decision that a poll is about; it changes nothing about it."""
    return Projection(target=stmt["decision_id"]) if "decision_id" in stmt else NOTHING


for _v, _members in POLL_STATEMENTS.items():
    register(StatementKind(_v, _members.check, _project, words=WORDS[_v]))
