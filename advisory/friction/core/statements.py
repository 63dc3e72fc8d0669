"""What friction says on the ledger: `ecp.friction.ruleset/1`, `advice/1` and `bypass/1` (FRICTION 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisory.friction.core import rules
from advisory.friction.core.steps import MOST, STEP_TYPES
from advisory.friction.core.values import FactState
from ledger.core.fields import (
    AnyOf,
    Choice,
    Explained,
    Flag,
    Integer,
    Items,
    Member,
    Members,
    Pattern,
    Text,
    refuse,
)
from ledger.core.statement import (
    ACTOR,
    COUNT,
    NOTHING,
    SLUG,
    TIME,
    UUID7,
    Projection,
    StatementKind,
    register,
    sealed_parts,
    statement_members,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

RULESET = "ecp.friction.ruleset/1"
ADVICE = "ecp.friction.advice/1"
BYPASS = "ecp.friction.bypass/1"

FACTS_PTR = "/facts"

# The last two are the server's to give.
REASON_CODES = (
    "emergency",
    "time_critical",
    "equivalent_control",
    "rule_misfit",
    "duplicate_review",
    "other",
)
SYSTEM_REASON_CODES = ("undeclared", "standing")
ADVICE_MODES = ("active", "shadow", "observer")

_HASH = Pattern(r"sha256:[0-9a-f]{64}")
_RULE_ID = Pattern(rules.RULE_ID_PATTERN)
_LEVEL = Choice(*rules.LEVELS)
_STATE = Choice(*rules.MODES)
_NAME = Text(1, 64)
_STEP_NUMBERS = Items(Integer(1, 10_000), maximum=10_000)

_RULESET = Members(
    Member("id", Pattern(rules.ID_PATTERN)), Member("version", Integer(1, 2**53 - 1)), Member("hash", _HASH)
)
_FACT = Members(
    Member("field", Pattern(rules.FIELD_PATTERN)),
    Member("from", Text(1, 1_000)),
    Member("state", Choice(*(state.value for state in FactState))),
    Member(
        "value", AnyOf("a text, a whole number, true or false", Text(0, 1_000), COUNT, Flag()), required=False
    ),
    Member("log", Text(1, 255), required=False),
    Member("size", COUNT, required=False),
)
_FIRED = Members(
    Member("rule", _RULE_ID), Member("points", Integer(-100, 100)), Member("via", Choice("match", "missing"))
)
_STEP = Members(
    Member("n", Integer(1, 10_000)),
    Member("type", Choice(*STEP_TYPES)),
    Member("because", Items(Text(1, 32), minimum=1, maximum=501)),
    Member("documents", Items(_NAME, minimum=1, maximum=10_000), required=False),
    Member("to", Items(_NAME, minimum=1, maximum=10_000), required=False),
    Member("environment", _NAME, required=False),
    Member("role", _NAME, required=False),
    Member("frame", _NAME, required=False),
    Member("not_same_owner", Flag(), required=False),
    *(
        Member(name, Integer(1, MOST), required=False)
        for name in (
            "count", "minutes", "sample_size", "sample_pct", "deadline_minutes", "max_share_pct",
            "within_minutes",
        )
    ),
)  # fmt: skip

RULESET_STATEMENT = statement_members(
    RULESET,
    Member("actor", ACTOR),
    Member("approver", ACTOR),
    Member("ruleset", _RULESET),
    Member("from_state", _STATE),
    Member("to_state", _STATE),
    Member("reason", Explained(2_000)),
)


def _facts_or_their_hash(stmt: Mapping[str, Any]) -> None:
    for name in ("facts", "fired"):
        if (name in stmt) is ("detached" in stmt):
            refuse("bad_value", f"{name} stand in the statement, or detached as their hash", f"/{name}")
        if (f"{name}_sha256" in stmt) is not ("detached" in stmt):
            refuse("bad_value", f"a hash stands for detached {name} alone", f"/{name}_sha256")


ADVICE_STATEMENT = statement_members(
    ADVICE,
    Member("actor", ACTOR),
    Member("agent", SLUG),
    Member("ruleset", _RULESET, required=False),
    Member("engine", Text(1, 64)),
    Member("mode", Choice(*ADVICE_MODES)),
    Member("evaluated_at", TIME),
    Member("facts", Items(_FACT, maximum=200), required=False),
    Member("sealed", sealed_parts(FACTS_PTR), required=False),
    Member("level", _LEVEL, required=False),
    Member("score", Integer(0, 1_000)),
    Member("raw_score", Integer(-50_000, 50_000)),
    Member("level_from", Choice("score", "floor")),
    Member("fired", Items(_FIRED, maximum=500), required=False),
    Member("undecided_rules", Items(_RULE_ID, maximum=500)),
    Member("missing_fields", Items(Pattern(rules.FIELD_PATTERN), maximum=200)),
    Member("steps", Items(_STEP, maximum=10_000)),
    Member("standing_bypass", UUID7, required=False),
    Member("previous_advice_id", UUID7, required=False),
    Member("detached", Flag(), required=False),
    Member("facts_sha256", _HASH, required=False),
    Member("fired_sha256", _HASH, required=False),
    rules=(_facts_or_their_hash,),
)


def _names_what_is_bypassed(stmt: Mapping[str, Any]) -> None:
    if "advice_id" not in stmt and "standing" not in stmt:
        refuse("missing_field", "a bypass names its advice, a standing bypass, or both", "/advice_id")


BYPASS_STATEMENT = statement_members(
    BYPASS,
    Member("actor", ACTOR),
    Member("on_behalf_of", ACTOR, required=False),
    Member("advice_id", UUID7, required=False),
    Member("decision_id", UUID7, required=False),
    Member(
        "standing",
        Members(
            Member("id", UUID7),
            Member("scope", Items(Text(1, 128), minimum=1, maximum=500)),
            Member("expires_at", TIME),
        ),
        required=False,
    ),
    Member("steps", _STEP_NUMBERS),
    Member("reason_code", Choice(*REASON_CODES, *SYSTEM_REASON_CODES)),
    Member("reason_text", Explained(2_000)),
    rules=(_names_what_is_bypassed,),
)


def _project_bypass(stmt: Mapping[str, Any]) -> Projection:
    """A bypass that names its decision says of it that advice was not followed."""
    return Projection(target=stmt["decision_id"], bypassed=True) if "decision_id" in stmt else NOTHING


WORDS = {RULESET: "rule set", ADVICE: "friction advice", BYPASS: "bypass"}
STATEMENTS = {RULESET: RULESET_STATEMENT, ADVICE: ADVICE_STATEMENT, BYPASS: BYPASS_STATEMENT}
for _v, _members in STATEMENTS.items():
    _projector = _project_bypass if _v == BYPASS else lambda _: NOTHING
    register(StatementKind(_v, _members.check, _projector, words=WORDS[_v]))
