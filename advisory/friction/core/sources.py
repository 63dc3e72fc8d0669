"""Where facts come from (FRICTION 3): the proposal, the history of the ledger, a zone, the clock."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any

from ecp_project.kernel import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping


class History(Enum):
    """The registry of `history:` facts."""

    AGENT_AGE_DAYS = "agent_age_days"
    AGENT_DECISIONS_30D = "agent_decisions_30d"
    AGENT_REVERSALS_30D = "agent_reversals_30d"
    AGENT_ADVERSE_90D = "agent_adverse_90d"
    AGENT_BYPASS_PCT_30D = "agent_bypass_pct_30d"
    AGENT_SAME_ACTION_30D = "agent_same_action_30d"
    AGENT_KEY_AGE_DAYS = "agent_key_age_days"
    MINUTES_SINCE_LAST_DECISION = "minutes_since_last_decision"
    ORG_OPEN_BYPASS_REVIEWS = "org_open_bypass_reviews"


ZONE = "ledger:zone"
CLOCK = "clock:evaluated_at"
ACTION = "body:/action"
_CONTEXT = "body:/context/"
_HISTORY = "history:"
_REGISTRY = frozenset(history.value for history in History)

# A token of RFC 6901: `~` only as ~0 or ~1.
_is_context = re.compile(r"body:/context(?:/(?:[^~/]|~[01])+){1,8}").fullmatch


def is_source(text: str) -> bool:
    if text.startswith(_HISTORY):
        return text.removeprefix(_HISTORY) in _REGISTRY
    return text in (ACTION, ZONE, CLOCK) or _is_context(text) is not None


def default_source(name: str) -> str:
    """Source of a field that names none: the registry if it knows the name, else the context."""
    return f"{_HISTORY}{name}" if name in _REGISTRY else _CONTEXT + name.replace(".", "/")


def history_of(source: str) -> History | None:
    return History(source.removeprefix(_HISTORY)) if source.startswith(_HISTORY) else None


def is_body(source: str) -> bool:
    return source.startswith("body:")


def is_context(source: str) -> bool:
    return source.startswith(_CONTEXT)


def from_body(source: str, body: Mapping[str, Any]) -> Any:
    """The value at a `body:` pointer, None if it is not there.

    A float is given as the text that RFC 8785 writes, which is the text form of the type `number`: advice and
    recorded decision then agree on `0.750`.
    """
    value: Any = body
    for token in source.removeprefix("body:/").split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        if type(value) is not dict or name not in value:
            return None
        value = value[name]
    return canonical.encode_any(value).decode() if type(value) is float else value
