# A copy of ledger/core/summary.py, made by clients/python/copy_core.py; change it there.
"""From a private context to its public summary (LEDGER section 5): pure, no clock, no locale.

Numbers are compared as decimals. What the summary shows is public and permanent; whatever it does not show
exactly as submitted is sealed, so that nothing submitted is lost.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any
from unicodedata import normalize

from ecp_client._core.kernel.canonical import MAX_SAFE_INTEGER, NAME_PATTERN, encode_any, text_fault
from ecp_client._core.kernel.errors import BadRequest
from ecp_client._core.ledger.statement import ACTION, SLUG_PATTERN

MAX_NAMED = 32
MAX_EDGES = 32
MAX_CATEGORIES = 256
MAX_CATEGORY = 64
MAX_KEPT_DIGITS = 8
OTHER = "_other"

_is_name = re.compile(NAME_PATTERN).fullmatch
_is_slug = re.compile(SLUG_PATTERN).fullmatch
_is_kept_text = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:/-]{0,63}").fullmatch
_is_date = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?", re.DOTALL).fullmatch
_DATE_LENGTHS = {"year": 4, "month": 7, "day": 10}
_DECADE_LIMIT = 15
_EXACT_BELOW = 2**53

Treatment = Callable[[Any], Any]


class PolicyError(ValueError):
    """A context policy breaks a rule; the message says where and how."""


@dataclass(frozen=True, slots=True)
class ContextPolicy:
    """What an organisation lets the summary of a context show; `names_none` shows not even names."""

    name: str
    version: int
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    names_none: bool = False
    treatments: Mapping[str, Treatment] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = f"{self.name}.rules"
        treatments = {name: _treatment(f"{at}.{name}", name, rule) for name, rule in self.rules.items()}
        object.__setattr__(self, "treatments", treatments)

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"


def policy_from(document: Any) -> ContextPolicy:
    """Read one policy of `config/context_policy.yml`; PolicyError names the first thing that is wrong."""
    if not isinstance(document, dict):
        raise PolicyError("a policy must be a mapping of name, version and rules")
    name = document.get("name")
    if not isinstance(name, str) or _is_slug(name) is None:
        raise PolicyError(f"name: must match {SLUG_PATTERN}")
    unknown = sorted(set(document) - {"name", "version", "rules", "names"})
    if unknown:
        raise PolicyError(f"{name}: unknown member {unknown[0]}")
    version = document.get("version")
    if type(version) is not int or not 1 <= version < 10**9:
        raise PolicyError(f"{name}.version: must be a whole number from 1")
    if "names" in document:
        if document["names"] != "none":
            raise PolicyError(f"{name}.names: only none is known; leave it out otherwise")
        if "rules" in document:
            raise PolicyError(f"{name}.rules: with names: none no name is shown, so no rule can apply")
        return ContextPolicy(name, version, names_none=True)
    rules = document.get("rules")
    if not isinstance(rules, dict):
        raise PolicyError(f"{name}.rules: must be a mapping of context names to rules, {{}} for none")
    return ContextPolicy(name, version, rules)


def check_choice(choice: Any, labels: Collection[str]) -> None:
    """Whether this maps actions, or `*` for all others, to policies that there are.

    PolicyError names the first fault: a choice that names no policy would stop every append of its actions.
    """
    if not isinstance(choice, dict):
        raise PolicyError('a choice maps actions to policies, such as {"*": "default@1"}; {} for default@1')
    for action, label in choice.items():
        if action != "*":
            _check_action(action)
        if not isinstance(label, str) or label not in labels:
            known = ", ".join(sorted(labels))
            raise PolicyError(f'for "{action}" there is no such policy; there are: {known}')


def _check_action(action: str) -> None:
    try:
        ACTION.check(action)
    except BadRequest as problem:
        raise PolicyError(f'"{action[:64]}" is no action of a decision: {problem.detail}') from problem


def summarise(context: Mapping[str, Any], policy: ContextPolicy) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the summary, and the values to seal by pointer in ascending order."""
    named = [] if policy.names_none else sorted(name for name in context if _is_shown(name))[:MAX_NAMED]
    summary: dict[str, Any] = {}
    sealed: dict[str, Any] = {}
    has_others = len(named) < len(context)
    if has_others:
        shown = set(named)
        others = {name: value for name, value in context.items() if name not in shown}
        summary[OTHER] = len(others)
        sealed[f"/context/{OTHER}"] = others
    treatments = policy.treatments
    for name in named:
        value = context[name]
        summary[name] = shown_value = treatments.get(name, _auto)(value)
        if not _is_same(shown_value, value):
            sealed[f"/context/{name}"] = value
    return summary, dict(sorted(sealed.items())) if has_others else sealed


def unruled_booleans(context: Mapping[str, Any], policy: ContextPolicy) -> list[str]:
    """Name the booleans that the summary shows because no rule speaks of them."""
    if bool not in map(type, context.values()):  # every append asks, and a summary costs more than a look
        return []
    summary, _ = summarise(context, policy)
    return [name for name, shown in summary.items() if type(shown) is bool and name not in policy.rules]


def decade_band(number: float) -> str:
    """Give the power of ten and the next between which a number lies, written out: 349.99 is `100..1000`."""
    if not number:
        return "0"
    # The digits before the point tell what the decimal form would, at a fraction of the cost. Below 2^53 no
    # float rounds up to the next whole number when it is written.
    if type(number) is int or 1 <= abs(number) < _EXACT_BELOW:
        exponent = len(str(int(abs(number)))) - 1
    else:
        exponent = _decimal(number).adjusted()
    return _decade(max(-1, exponent), number < 0)


@lru_cache(maxsize=2 * 320)
def _decade(exponent: int, negative: bool) -> str:  # noqa: FBT001 - the key of a cache
    if exponent >= _DECADE_LIMIT:
        return f"<=-{10**_DECADE_LIMIT}" if negative else f">={10**_DECADE_LIMIT}"
    low, high = (0, 1) if exponent < 0 else (10**exponent, 10 ** (exponent + 1))
    return f"-{high}..{-low}" if negative else f"{low}..{high}"


def _decimal(number: float) -> Decimal:
    # The shortest decimal form of a double is also what RFC 8785 commits to.
    return Decimal(number if type(number) is int else repr(number))


def _is_shown(name: str) -> bool:
    return not name.startswith("_") and _is_name(name) is not None


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _is_same(shown: Any, value: Any) -> bool:
    """Whether both are the same JSON value, which `==` does not say of `true` and `1`."""
    if type(shown) is dict:
        return type(value) is dict and encode_any(shown) == encode_any(value)
    return shown == value and (type(shown) is type(value) or (_is_number(shown) and _is_number(value)))


# --- treatments: what the summary shows of one value


def _sealed(_: Any) -> Any:
    return {"sealed": True}


def _auto(value: Any) -> Any:
    if value is None or type(value) is bool:
        return value
    if type(value) is str:
        return {"chars": decade_band(len(value if value.isascii() else normalize("NFC", value)))}
    if type(value) is list:
        return {"items": len(value)}
    if type(value) is dict:
        return {"members": len(value)}
    return decade_band(value)


def _keep(value: Any) -> Any:
    if value is None or type(value) is bool:
        return value
    # 5.0 and 5 are one number in JSON, and RFC 8785 writes both as 5.
    if _is_number(value) and value == int(value) and abs(value) < 10**MAX_KEPT_DIGITS:
        return int(value)
    if type(value) is str and _is_kept_text(value) and sum(map(str.isdigit, value)) <= MAX_KEPT_DIGITS:
        return value
    return _sealed(value)


def _band(edges: list[float] | None) -> Treatment:
    if edges is None:
        return lambda value: decade_band(value) if _is_number(value) else _sealed(value)
    bounds = [_decimal(edge) for edge in edges]
    labels = [encode_any(edge).decode("ascii") for edge in edges]
    bands = [f"<{labels[0]}", *(f"{low}..{high}" for low, high in pairwise(labels)), f">={labels[-1]}"]

    def treat(value: Any) -> Any:
        return bands[bisect_right(bounds, _decimal(value))] if _is_number(value) else _sealed(value)

    return treat


def _date(precision: str) -> Treatment:
    length = _DATE_LENGTHS[precision]

    def treat(value: Any) -> Any:
        return value[:length] if type(value) is str and _is_date(value) else _sealed(value)

    return treat


def _category(values: list[str]) -> Treatment:
    known = frozenset(values)

    def treat(value: Any) -> Any:
        if type(value) is not str:
            return _sealed(value)
        return value if value in known else "other"

    return treat


_PARAMETERS = {
    "auto": frozenset[str](),
    "keep": frozenset[str](),
    "seal": frozenset[str](),
    "band": frozenset({"edges"}),
    "date": frozenset({"precision"}),
    "category": frozenset({"values"}),
}


def _treatment(at: str, name: Any, rule: Any) -> Treatment:
    """Compile one rule of a policy, or say at which place it is wrong."""
    if not isinstance(name, str) or not _is_shown(name):
        raise PolicyError(
            f"{at}: a rule is for a name of a-z, 0-9 and underscore that does not begin with one"
        )
    if not isinstance(rule, Mapping):
        raise PolicyError(f"{at}: must be a mapping with an action")
    action = rule.get("action")
    if not isinstance(action, str) or action not in _PARAMETERS:
        raise PolicyError(f"{at}.action: must be one of {', '.join(_PARAMETERS)}")
    unknown = sorted(set(rule) - {"action"} - _PARAMETERS[action])
    if unknown:
        raise PolicyError(f"{at}.{unknown[0]}: {action} does not know it")
    if action == "band":
        return _band(_checked_edges(f"{at}.edges", rule.get("edges")))
    if action == "date":
        return _date(_checked_precision(f"{at}.precision", rule.get("precision")))
    if action == "category":
        return _category(_checked_values(f"{at}.values", rule.get("values")))
    return {"auto": _auto, "keep": _keep, "seal": _sealed}[action]


def _checked_edges(at: str, edges: Any) -> list[float] | None:
    if edges is None:
        return None
    if not isinstance(edges, list) or not 1 <= len(edges) <= MAX_EDGES or not all(map(_is_number, edges)):
        raise PolicyError(f"{at}: must be 1 to {MAX_EDGES} numbers")
    if any(not abs(edge) <= MAX_SAFE_INTEGER for edge in edges):
        raise PolicyError(f"{at}: must lie within -(2^53-1) and 2^53-1")
    if any(low >= high for low, high in pairwise(map(_decimal, edges))):
        raise PolicyError(f"{at}: must be in ascending order")
    return edges


def _checked_precision(at: str, precision: Any) -> str:
    if not isinstance(precision, str) or precision not in _DATE_LENGTHS:
        raise PolicyError(f"{at}: must be one of {', '.join(_DATE_LENGTHS)}")
    return precision


def _checked_values(at: str, values: Any) -> list[str]:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_CATEGORIES:
        raise PolicyError(f"{at}: must be 1 to {MAX_CATEGORIES} texts")
    for value in values:
        if not isinstance(value, str) or len(value) > MAX_CATEGORY or text_fault(value) is not None:
            raise PolicyError(f"{at}: each must be a text in NFC of at most {MAX_CATEGORY} characters")
    return values


DEFAULT = ContextPolicy("default", 1)
STRICT = ContextPolicy("strict", 1, names_none=True)
