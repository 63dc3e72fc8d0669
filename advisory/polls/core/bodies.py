"""Bodies of requests: closed sets of members, and every fault is `value_invalid` (POLLS section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisory.polls.core.answers import (
    ABSTAIN,
    MAX_OPTIONS,
    MIN_OPTIONS,
    OPTION_PATTERN,
    with_abstain,
)
from advisory.polls.core.schedule import parse_cron, zone_of
from advisory.polls.core.statements import QUORUM
from ecp_project.kernel.canonical import NAME_PATTERN
from ecp_project.kernel.errors import BadRequest
from ledger.core.fields import Choice, Field, Flag, Integer, Items, Member, Members, Named, Pattern, Text
from ledger.core.fields import Null as Nothing
from ledger.core.statement import TIME, UUID7

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ASKED = 1_000_000  # more than any frame holds: capped when the frame is known
MAX_DEADLINE_MINUTES = 43_200
DEFAULT_QUORUM = {"min_responses": 5, "min_response_rate_pct": 30}


def _poll_members(*, required: bool) -> tuple[Member, ...]:
    def member(name: str, field: Field) -> Member:
        return Member(name, field, required=required)

    return (
        member("question", Text(10, 2_000)),
        member("options", Items(Pattern(OPTION_PATTERN), minimum=MIN_OPTIONS, maximum=MAX_OPTIONS)),
        member("n", Integer(1, MAX_ASKED)),
        member("deadline_minutes", Integer(1, MAX_DEADLINE_MINUTES)),
        Member("strata_by", Items(Pattern(NAME_PATTERN), maximum=3), required=False),
        Member("filter", Named(NAME_PATTERN, Text(1, 200), maximum=8), required=False),
        Member("exclude_same_owner", Flag(), required=False),
        Member("estimator", Choice("srs", "stratified"), required=False),
        Member("confidence_pct", Integer(50, 99), required=False),
        Member("quorum", QUORUM, required=False),
        Member("revisions", Choice("none", "last"), required=False),
        Member("entropy", Choice("ledger"), required=False),
        Member("auto", Flag(), required=False),
        Member("decision_id", UUID7, required=False),
        Member("advice_id", UUID7, required=False),
    )


POLL = Members(*_poll_members(required=True))
SIZE = Members(
    Member("frame_size", Integer(1, MAX_ASKED)),
    Member("margin_pct", Integer(1, 50)),
    Member("confidence_pct", Integer(50, 99), required=False),
)
REASON = Members(Member("reason", Text(1, 2_000), required=False))
DECLINED = Members(Member("declined", Choice("yes")), Member("invitation_id", UUID7))
MANUAL = Members(
    Member("invitation_id", UUID7),
    Member("choice", Pattern(OPTION_PATTERN)),
    Member("reason", Text(1, 2_000)),
    Member("confidence_pct", Integer(0, 100), required=False),
    Member("rationale", Text(0, 2_000), required=False),
)


class _OrNull:
    """A member that null empties."""

    __slots__ = ("field",)

    def __init__(self, field: Field) -> None:
        self.field = field

    def check(self, value: Any) -> None:
        if value is not None:
            self.field.check(value)

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [Nothing().json_schema(), self.field.json_schema()]}


def _schedule_members(*, required: bool) -> tuple[Member, ...]:
    return (
        Member("title", Text(1, 200), required=required),
        Member("cron", Text(1, 100), required=required),
        Member("template", POLL, required=required),
        Member("timezone", Text(1, 64), required=False),
        Member("enabled", Flag(), required=False),
        Member("if_open", Choice("skip", "run"), required=False),
        Member("catch_up", Choice("none", "one"), required=False),
        Member("ends_at", _OrNull(TIME), required=False),
        Member("max_runs", _OrNull(Integer(1, 100_000)), required=False),
    )


SCHEDULE = Members(*_schedule_members(required=True))
SCHEDULE_CHANGE = Members(*_schedule_members(required=False))


def checked(members: Members, document: Mapping[str, Any]) -> None:
    try:
        members.check(document)
    except BadRequest as error:
        raise BadRequest("value_invalid", error.detail, pointer=error.pointer, reason=error.code) from None


def poll_body(document: Mapping[str, Any]) -> dict[str, Any]:
    """Check the body of a new poll; what was left out has its default."""
    checked(POLL, document)
    options = with_abstain(document["options"])
    if len(set(options)) != len(options) or len(options) > MAX_OPTIONS:
        detail = f"2 to {MAX_OPTIONS} different options, {ABSTAIN} included"
        raise BadRequest("value_invalid", detail, pointer="/options")
    found = {
        "strata_by": [],
        "filter": {},
        "exclude_same_owner": False,
        "estimator": "srs",
        "confidence_pct": 95,
        "quorum": dict(DEFAULT_QUORUM),
        "revisions": "none",
        "auto": False,
        **document,
        "options": options,
    }
    if len(set(found["strata_by"])) != len(found["strata_by"]):
        raise BadRequest("value_invalid", "name each label once", pointer="/strata_by")
    found.pop("entropy", None)
    return found


def schedule_body(document: Mapping[str, Any], *, is_change: bool = False) -> dict[str, Any]:
    checked(SCHEDULE_CHANGE if is_change else SCHEDULE, document)
    if "cron" in document:
        parse_cron(document["cron"])
    if "timezone" in document:
        zone_of(document["timezone"])
    if "template" in document:
        poll_body(document["template"])
    return dict(document)
