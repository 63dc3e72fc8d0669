"""Facts: the six types of FRICTION 2.1, when a value is usable, and what it is compared as."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN_TEXT = 120
SHOWN_ITEMS = 20


class FactType(Enum):
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    LIST = "list"


class FactState(Enum):
    """Whether a rule can use the fact."""

    PRESENT = "present"
    MISSING = "missing"
    MISTYPED = "mistyped"
    OUT_OF_DOMAIN = "out_of_domain"


@dataclass(frozen=True, slots=True)
class Field:
    """A declared input: its name, type, where it comes from and the values it may have."""

    name: str
    type: FactType
    source: str
    values: frozenset[Any] | None = None
    least: int | None = None
    most: int | None = None
    sensitive: bool = False
    title: str = ""
    unit: str = ""


def comparable(kind: FactType, value: Any) -> Any:
    """What a value of this type is compared as; None if it is no value of the type."""
    return _CONVERTERS[kind](value)


def usable(field: Field, value: Any) -> tuple[FactState, Any]:
    """State of a fact and, if it is usable, what it is compared as."""
    if value is None:
        return FactState.MISSING, None
    converted = _CONVERTERS[field.type](value)
    if converted is None:
        return FactState.MISTYPED, None
    if in_domain(field, converted):
        return FactState.PRESENT, converted
    return FactState.OUT_OF_DOMAIN, None


def in_domain(field: Field, converted: Any) -> bool:
    if field.values is not None:
        return converted <= field.values if field.type is FactType.LIST else converted in field.values
    if field.least is not None and converted < field.least:
        return False
    return field.most is None or converted <= field.most


def _string(value: Any) -> str | None:
    return value if type(value) is str else None


def _integer(value: Any) -> int | None:
    return value if type(value) is int else None


def _boolean(value: Any) -> bool | None:
    return value if type(value) is bool else None


def _list(value: Any) -> frozenset[str] | None:
    if type(value) is not list or not all(type(item) is str for item in value):
        return None
    return frozenset(value)


# Numbers are compared exactly as integers of billionths.
_BILLION = 10**9
_match_number = re.compile(r"(-?)(0|[1-9][0-9]{0,17})(?:\.([0-9]{1,9}))?").fullmatch


def _number(value: Any) -> int | None:
    if type(value) is int:
        return value * _BILLION
    match = _match_number(value) if type(value) is str else None
    if match is None:
        return None
    sign, whole, fraction = match.groups()
    billionths = int(whole) * _BILLION + (int(fraction.ljust(9, "0")) if fraction else 0)
    return -billionths if sign else billionths


_is_instant = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
).fullmatch


def instant(value: Any) -> datetime | None:
    """The UTC instant of an RFC 3339 text with seconds and zone, or None."""
    if type(value) is not str or _is_instant(value) is None:
        return None
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # 30 February; an offset that leaves the calendar
        return None


_CONVERTERS: dict[FactType, Callable[[Any], Any]] = {
    FactType.STRING: _string,
    FactType.INTEGER: _integer,
    FactType.NUMBER: _number,
    FactType.BOOLEAN: _boolean,
    FactType.TIMESTAMP: instant,
    FactType.LIST: _list,
}


# --- what a reader sees


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}…"


def rendered(field: Field, value: Any) -> str:
    """A fact inside a sentence."""
    if value is None:
        return "unknown"
    if field.sensitive:
        return "(hidden)"
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is list:
        return _cut(", ".join(rendered(field, item) for item in value[: SHOWN_TEXT + 1]))
    if type(value) is dict:
        return "unknown"
    return _cut(str(value))


def shown(field: Field, value: Any) -> Any:
    """A fact inside a trace: JSON, short, and nothing of a sensitive one."""
    if value is None:
        return None
    if field.sensitive:
        return "(hidden)"
    if type(value) is str:
        return _cut(value)
    if type(value) is list:
        items = [_cut(item) if type(item) is str else "(no text)" for item in value[:SHOWN_ITEMS]]
        return items if len(value) <= SHOWN_ITEMS else [*items, "…"]
    return value if type(value) in (int, bool) else "(no single value)"
