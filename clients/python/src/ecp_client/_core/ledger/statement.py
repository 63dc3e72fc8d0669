# A copy of ledger/core/statement.py, made by clients/python/copy_core.py; change it there.
"""Statements: what an actor says, as LEDGER section 3 spells it, and the register of their kinds.

A kind is a closed set of members. The ledger's own kinds are below; an app registers further ones with its
schema and a pure projector that tells what the statement means for a decision (`ledger_entrysearch`). The
ledger stores what is said and judges none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecp_client._core.kernel.canonical import MAX_SAFE_INTEGER, NAME_PATTERN
from ecp_client._core.kernel.clock import format_time
from ecp_client._core.kernel.errors import BadRequest
from ecp_client._core.kernel.ids import UUID7_PATTERN, UUID_PATTERN
from ecp_client._core.kernel.signing import b64url, b64url_decode, kid_of
from ecp_client._core.ledger.fields import (
    AnyOf,
    Choice,
    Explained,
    Flag,
    Integer,
    Items,
    Member,
    Members,
    Named,
    Null,
    Pattern,
    Text,
    Time,
    refuse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

SLUG_PATTERN = r"[a-z0-9][a-z0-9._-]{1,63}"
PART_PATTERN = rf"/explanation_detail|/context/{NAME_PATTERN}"
# The last character of unpadded base64url carries spare bits, which must be zero.
BASE64_16_PATTERN = r"[A-Za-z0-9_-]{21}[AQgw]"
BASE64_32_PATTERN = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"

SLUG = Pattern(SLUG_PATTERN, reason="identifier")
UUID = Pattern(UUID_PATTERN)
UUID7 = Pattern(UUID7_PATTERN)
TIME = Time()
ACTOR = Pattern(rf"staff:{UUID_PATTERN}|agent:{SLUG_PATTERN}|system:{SLUG_PATTERN}")
ACTION = Pattern(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+){0,7}", maximum=128)
EXPLANATION = Explained(4_000)
REASON = Text(1, 2_000)
COUNT = Integer(0, MAX_SAFE_INTEGER)


@dataclass(frozen=True, slots=True)
class Projection:
    """What a statement says about a decision, for the columns of `ledger_entrysearch`."""

    target: str | None = None
    zone: str | None = None
    level: str | None = None
    bypassed: bool | None = None


NOTHING = Projection()


@dataclass(frozen=True, slots=True)
class StatementKind:
    """A registered `v` with its validator and its projector.

    Agents may sign and send the kinds that are `is_signable`; every other kind is the server's to write.
    `words` are what pages call such an entry; they are translated where they are shown.
    """

    v: str
    validate: Callable[[Mapping[str, Any]], None]
    project: Callable[[Mapping[str, Any]], Projection]
    is_signable: bool = False
    words: str = ""


_kinds: dict[str, StatementKind] = {}


def register(kind: StatementKind) -> StatementKind:
    if kind.v in _kinds:
        raise AssertionError(f"statement kind {kind.v} is registered twice")
    _kinds[kind.v] = kind
    return kind


def registered() -> tuple[StatementKind, ...]:
    return tuple(_kinds.values())


def words_of(v: str) -> str:
    """What an app calls the entries of its kind; the name of the kind where nobody said."""
    kind = _kinds.get(v)
    return kind.words if kind and kind.words else v


def kind_of(v: Any) -> StatementKind:
    if type(v) is not str:
        raise BadRequest("wrong_type", "must be a string", pointer="/v", reason="type")
    kind = _kinds.get(v)
    if kind is None:
        raise BadRequest("bad_value", "no such kind of statement", pointer="/v")
    return kind


def validate(stmt: Mapping[str, Any], *, signed_path: bool = False) -> StatementKind:
    """Judge a statement of any registered kind; a client that signs cannot speak for the server's `via`."""
    if "v" not in stmt:
        raise BadRequest("missing_field", pointer="/v")
    kind = kind_of(stmt["v"])
    if signed_path and not kind.is_signable:
        raise BadRequest("bad_value", "agents do not sign this kind of statement", pointer="/v")
    if signed_path and "via" in stmt:
        raise BadRequest("unknown_field", "only the server writes via", pointer="/via")
    kind.validate(stmt)
    return kind


def statement_members(v: str, *members: Member, **rules: Any) -> Members:
    """Members of a kind: `v id org ts`, which every statement has, and its own."""
    common = (Member("v", Choice(v)), Member("id", UUID7), Member("org", SLUG), Member("ts", TIME))
    return Members(*common, *members, **rules)


def sealed_parts(pattern: str) -> Items:
    """List commitments to sealed values, `{ptr, c}`, whose pointers match `pattern`."""
    part = Members(Member("ptr", Pattern(pattern)), Member("c", Pattern(BASE64_32_PATTERN)))
    return Items(part, maximum=64, key=lambda item: item["ptr"])


# --- ecp.decision/1


def _bypass_has_reason(advisory: Mapping[str, Any]) -> None:
    if advisory["bypassed"] and "bypass_reason" not in advisory:
        refuse("missing_field", "a bypass needs its reason", "/bypass_reason")
    if not advisory["bypassed"] and "bypass_reason" in advisory:
        refuse("bad_value", "only a bypass has a reason", "/bypass_reason")


def _summary_names_policy(stmt: Mapping[str, Any]) -> None:
    for name, other in (("context_summary", "summary_policy"), ("summary_policy", "context_summary")):
        if name in stmt and other not in stmt:
            refuse("missing_field", f"{name} and {other} go together", f"/{other}")


ADVISORY = Members(
    Member("advice_id", UUID7, description="Id of the advice that was asked for."),
    Member("level", Choice("low", "medium", "high"), description="Level that the advice gave."),
    Member("bypassed", Flag(), description="Whether the agent acted despite the advice."),
    Member(
        "steps",
        Items(
            Members(Member("step", Text(1, 64)), Member("state", Choice("done", "pending", "skipped"))),
            maximum=16,
        ),
        required=False,
        description="Suggested steps and how far each had come.",
    ),
    Member(
        "bypass_reason",
        Explained(2_000),
        required=False,
        description="Why; at least 10 visible characters, exactly when bypassed.",
    ),
    rules=(_bypass_has_reason,),
    schema_rules={
        "if": {"properties": {"bypassed": {"const": True}}, "required": ["bypassed"]},
        "then": {"required": ["bypass_reason"]},
        "else": {"properties": {"bypass_reason": False}},
    },
)

# What record and statement share, in the order of LEDGER section 3.
DECISION_MEMBERS = (
    Member(
        "agent",
        SLUG,
        title="Agent",
        description="Slug of the registered, active agent that decides.",
        examples=("refund-bot",),
    ),
    Member(
        "action",
        ACTION,
        title="Action",
        description="What is done, as words joined by points, the widest first.",
        examples=("refund.approve",),
    ),
    Member(
        "explanation",
        EXPLANATION,
        title="Explanation",
        description="Why, in words for a reader who was not there: at least 10 visible characters, NFC. "
        "It is public and permanent, so no personal data.",
        examples=("Refund granted: the goods arrived damaged and a photo was sent.",),
    ),
    Member(
        "model",
        Members(
            Member("name", Text(1, 128)),
            Member("version", Text(1, 64)),
            Member("digest", Pattern(r"sha256:[0-9a-f]{64}"), required=False),
        ),
        required=False,
        title="Model",
        description="Model that decided, with the digest of its weights where known.",
    ),
    Member(
        "subject",
        Members(Member("type", SLUG), Member("ref", Text(1, 128))),
        required=False,
        title="Subject",
        description="Thing that is decided about. A person's identifier belongs into `context`.",
        examples=({"type": "order", "ref": "4711"},),
    ),
    Member(
        "alternatives",
        Items(Members(Member("option", Text(1, 200)), Member("reason", Text(1, 500))), maximum=16),
        required=False,
        title="Alternatives",
        description="Options that were weighed, each with the reason against it.",
    ),
    Member(
        "risk",
        Choice("low", "medium", "high", "critical"),
        required=False,
        title="Risk",
        description="Risk as the agent sees it.",
    ),
    Member(
        "advisory",
        ADVISORY,
        required=False,
        title="Advice",
        description="Advice that preceded the decision, and whether the agent went past it.",
    ),
    Member(
        "zone",
        Choice("manufacturer", "operator", "uncertain"),
        required=False,
        title="Zone",
        description="Liability zone as declared when deciding.",
    ),
    Member(
        "refs",
        Items(
            Members(
                Member(
                    "rel",
                    Choice(
                        "advice",
                        "appeals",
                        "caused_by",
                        "corrects",
                        "outcome_of",
                        "poll",
                        "related",
                        "supersedes",
                    ),
                ),
                Member("id", UUID),
            ),
            maximum=32,
        ),
        required=False,
        title="References",
        description="Other objects of this instance that the decision speaks of.",
    ),
)

_SUMMARY_VALUE = AnyOf(
    "a short text, an integer, true, false, null or one of chars, items, members, sealed",
    Null(),
    Flag(),
    Integer(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER),
    Text(0, 64),
    Members(Member("chars", Text(1, 64))),
    Members(Member("items", COUNT)),
    Members(Member("members", COUNT)),
    Members(Member("sealed", Flag())),
)

VIA = Members(Member("method", Choice("api_key", "session", "system")), Member("id", Text(1, 64)))

DECISION_STATEMENT = statement_members(
    "ecp.decision/1",
    *DECISION_MEMBERS,
    Member("context_summary", Named(NAME_PATTERN, _SUMMARY_VALUE, maximum=33), required=False),
    Member("summary_policy", Pattern(rf"{SLUG_PATTERN}@[1-9][0-9]{{0,8}}"), required=False),
    Member("sealed", sealed_parts(PART_PATTERN), required=False),
    Member("via", VIA, required=False),
    rules=(_summary_names_policy,),
    schema_rules={
        "dependentRequired": {
            "context_summary": ["summary_policy"],
            "summary_policy": ["context_summary"],
        }
    },
)


def _project_decision(stmt: Mapping[str, Any]) -> Projection:
    advisory = stmt.get("advisory", {})
    return Projection(
        target=stmt["id"],
        zone=stmt.get("zone"),
        level=advisory.get("level"),
        bypassed=advisory.get("bypassed"),
    )


# --- the other kinds that the ledger owns


def _status_only_for_outcome(stmt: Mapping[str, Any]) -> None:
    if "status" in stmt and stmt["kind"] != "outcome":
        refuse("bad_value", "only an outcome has a status", "/status")


def _kid_is_of_key(stmt: Mapping[str, Any]) -> None:
    if stmt["kid"] != kid_of(b64url_decode(stmt["public_key"])):
        refuse("bad_value", "is not the key id of public_key", "/kid")


def _in_order(first: str, second: str) -> Callable[[Mapping[str, Any]], None]:
    def rule(stmt: Mapping[str, Any]) -> None:
        # Numbers compare as numbers, and times as text, since they have one length and one zone.
        if second in stmt and stmt[second] < stmt[first]:
            refuse("bad_value", f"must not come before {first}", f"/{second}")

    return rule


_MODE = Pattern(r"[a-z][a-z_]{1,31}")

ANNOTATION_STATEMENT = statement_members(
    "ecp.annotation/1",
    Member("actor", ACTOR),
    Member("kind", Choice("note", "correction", "outcome")),
    Member("target", UUID7),
    Member("text", EXPLANATION),
    Member("status", Choice("success", "failure", "partial", "unknown"), required=False),
    rules=(_status_only_for_outcome,),
)
KEY_STATEMENT = statement_members(
    "ecp.key/1",
    Member("actor", ACTOR),
    Member("event", Choice("added", "rotated", "revoked")),
    Member("holder", Pattern(rf"agent:{SLUG_PATTERN}|log")),
    Member("alg", Choice("ed25519")),
    Member("kid", Pattern(BASE64_16_PATTERN)),
    Member("public_key", Pattern(BASE64_32_PATTERN)),
    Member("valid_from", TIME),
    Member("valid_until", TIME, required=False),
    Member("reason", REASON, required=False),
    rules=(_kid_is_of_key, _in_order("valid_from", "valid_until")),
)
ERASURE_STATEMENT = statement_members(
    "ecp.erasure/1",
    Member("actor", ACTOR),
    Member(
        "basis",
        Choice(
            "data_subject_request",
            "consent_withdrawn",
            "retention_expired",
            "legal_order",
            "lesson_withdrawn",
        ),
    ),
    Member("requested_at", TIME),
    Member("run", UUID7),
    Member("part", Integer(1, 1_000_000)),
    Member("of", Integer(1, 1_000_000)),
    Member(
        "parts",
        Items(
            Members(Member("id", UUID7), Member("ptr", Pattern(rf"(?:/{NAME_PATTERN}){{1,8}}"))),
            minimum=1,
            maximum=256,
            key=lambda item: (item["id"], item["ptr"]),
        ),
    ),
    rules=(_in_order("part", "of"),),
)
MODE_STATEMENT = statement_members(
    "ecp.mode/1",
    Member("actor", ACTOR),
    Member("from", _MODE),
    Member("to", _MODE),
    Member("since", TIME),
    Member("reason", REASON),
    Member("dimension", Choice("ledger", "advisory"), required=False),
)
GAP_STATEMENT = statement_members(
    "ecp.gap/1",
    Member("actor", ACTOR),
    Member("from", TIME),
    Member("to", TIME),
    Member("reason", Explained(2_000)),
    Member("estimate", COUNT, required=False),
    Member(
        "prior",
        Members(
            Member("origin", Text(1, 255)), Member("size", COUNT), Member("root", Pattern(r"[0-9a-f]{64}"))
        ),
        required=False,
    ),
    rules=(_in_order("from", "to"),),
)
STAFF_STATEMENT = statement_members(
    "ecp.staff/1",
    Member("actor", ACTOR),
    Member("action", ACTION),
    Member("object", Text(1, 256)),
    Member("reason", REASON, required=False),
    Member(
        "detail",
        Named(
            NAME_PATTERN,
            AnyOf(
                "a text of at most 1,000 characters or an integer",
                Text(0, 1_000),
                Integer(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER),
            ),
            maximum=16,
        ),
        required=False,
    ),
)

LEDGER_STATEMENTS = {
    "ecp.decision/1": DECISION_STATEMENT,
    "ecp.annotation/1": ANNOTATION_STATEMENT,
    "ecp.key/1": KEY_STATEMENT,
    "ecp.erasure/1": ERASURE_STATEMENT,
    "ecp.mode/1": MODE_STATEMENT,
    "ecp.gap/1": GAP_STATEMENT,
    "ecp.staff/1": STAFF_STATEMENT,
}
_PROJECTORS: dict[str, Callable[[Mapping[str, Any]], Projection]] = {
    "ecp.decision/1": _project_decision,
    "ecp.annotation/1": lambda stmt: Projection(target=stmt["target"]),
}
_SIGNABLE = frozenset({"ecp.decision/1", "ecp.annotation/1", "ecp.key/1"})
for _v, _members in LEDGER_STATEMENTS.items():
    register(
        StatementKind(_v, _members.check, _PROJECTORS.get(_v, lambda _: NOTHING), is_signable=_v in _SIGNABLE)
    )


# --- builders: they return a valid statement or raise the BadRequest that says what is wrong with it


def _built(v: str, **members: Any) -> dict[str, Any]:
    stmt = {"v": v} | {
        name.rstrip("_"): _written(value) for name, value in members.items() if value is not None
    }
    validate(stmt)
    return stmt


def _written(value: Any) -> Any:
    return format_time(value) if hasattr(value, "tzinfo") else value


def build_annotation(
    *,
    id_: str,
    org: str,
    ts: datetime,
    actor: str,
    kind: str,
    target: str,
    text: str,
    status: str | None = None,
) -> dict[str, Any]:
    return _built(
        "ecp.annotation/1",
        id_=id_,
        org=org,
        ts=ts,
        actor=actor,
        kind=kind,
        target=target,
        text=text,
        status=status,
    )


def build_key(
    *,
    id_: str,
    org: str,
    ts: datetime,
    actor: str,
    event: str,
    holder: str,
    public_key: bytes,
    valid_from: datetime,
    valid_until: datetime | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    return _built(
        "ecp.key/1",
        id_=id_,
        org=org,
        ts=ts,
        actor=actor,
        event=event,
        holder=holder,
        alg="ed25519",
        kid=kid_of(public_key),
        public_key=b64url(public_key),
        valid_from=valid_from,
        valid_until=valid_until,
        reason=reason,
    )


def build_erasure(
    *,
    id_: str,
    org: str,
    ts: datetime,
    actor: str,
    basis: str,
    requested_at: datetime,
    run: str,
    part: int,
    of: int,
    parts: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Build from (decision id, pointer) pairs in any order."""
    return _built(
        "ecp.erasure/1",
        id_=id_,
        org=org,
        ts=ts,
        actor=actor,
        basis=basis,
        requested_at=requested_at,
        run=run,
        part=part,
        of=of,
        parts=[{"id": decision_id, "ptr": ptr} for decision_id, ptr in sorted(set(parts))],
    )


def build_mode(
    *,
    id_: str,
    org: str,
    ts: datetime,
    actor: str,
    from_: str,
    to: str,
    since: datetime,
    reason: str,
    dimension: str | None = None,
) -> dict[str, Any]:
    return _built(
        "ecp.mode/1",
        id_=id_,
        org=org,
        ts=ts,
        actor=actor,
        from_=from_,
        to=to,
        since=since,
        reason=reason,
        dimension=dimension,
    )


def build_gap(
    *,
    id_: str,
    org: str,
    ts: datetime,
    actor: str,
    from_: datetime,
    to: datetime,
    reason: str,
    estimate: int | None = None,
    prior: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    return _built(
        "ecp.gap/1",
        id_=id_,
        org=org,
        ts=ts,
        actor=actor,
        from_=from_,
        to=to,
        reason=reason,
        estimate=estimate,
        prior=prior,
    )


def build_staff(
    *,
    id_: str,
    org: str,
    ts: datetime,
    actor: str,
    action: str,
    object_: str,
    reason: str | None = None,
    detail: Mapping[str, str | int] | None = None,
) -> dict[str, Any]:
    return _built(
        "ecp.staff/1",
        id_=id_,
        org=org,
        ts=ts,
        actor=actor,
        action=action,
        object_=object_,
        reason=reason,
        detail=detail,
    )
