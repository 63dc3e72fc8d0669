"""Reading the bodies of friction's endpoints: closed members, exact types, a problem for everything else."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from uuid import UUID

from advisory.friction.core.values import instant
from advisory.friction.models import Level
from advisory.friction.selectors.recorded import MOST, RecordedFilter
from ecp_project.api.parsers import read_document
from ecp_project.kernel.errors import BadRequest, EcpError, NotFound
from ecp_project.kernel.ids import is_uuid7
from ledger.api.base import idempotency_key
from ledger.core.decision import DecisionRecord
from ledger.core.fields import Text

if TYPE_CHECKING:
    from datetime import datetime

    from rest_framework.request import Request

Word = TypeVar("Word", bound=Enum)

_ANY_TEXT = Text(0, 2_000)
_NAME = Text(1, 128)
MAX_NAMES = 100
_NUMBER = re.compile(r"[1-9][0-9]{0,14}")


def body(request: Request, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    document = read_document(request)
    refuse_members(document, required, optional)
    return document


def refuse_members(document: dict[str, Any], required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    for name in document:
        if name not in required and name not in optional:
            raise BadRequest("unknown_field", f"{name} is not a member here", pointer=f"/{name}")
    for name in required:
        if name not in document:
            raise BadRequest("missing_field", f"{name} is missing", pointer=f"/{name}")


def text(document: dict[str, Any], name: str, rule: Text = _ANY_TEXT) -> str:
    if name not in document:
        return ""
    try:
        rule.check(document[name])
    except EcpError as error:
        error.pointer = f"/{name}"
        raise
    value: str = document[name]
    return value


def names(document: dict[str, Any], name: str) -> list[str]:
    """A list of names, each once, sorted."""
    values = document.get(name, [])
    if type(values) is not list:
        raise BadRequest("wrong_type", "must be an array of texts", pointer=f"/{name}")
    if len(values) > MAX_NAMES:
        raise BadRequest("bad_value", f"at most {MAX_NAMES} names are taken", pointer=f"/{name}")
    for place, value in enumerate(values):
        try:
            _NAME.check(value)
        except EcpError as error:
            error.pointer = f"/{name}/{place}"
            raise
    return sorted(set(values))


def choice(document: dict[str, Any], name: str, words: type[Word], code: str = "value_invalid") -> Word:
    try:
        return words(document[name])
    except ValueError:
        allowed = ", ".join(str(word.value) for word in words)
        raise BadRequest(code, f"{name} must be one of {allowed}", pointer=f"/{name}") from None


def time(document: dict[str, Any], name: str) -> datetime:
    found = instant(document[name])
    if found is None:
        raise BadRequest(
            "bad_value", f"{name} must be an RFC 3339 time with seconds and zone", pointer=f"/{name}"
        )
    return found


def steps(document: dict[str, Any]) -> list[int] | None:
    """Step numbers, or None for `"all"`."""
    value = document["steps"]
    if value == "all":
        return None
    if type(value) is not list or not value or not all(type(n) is int for n in value):
        raise BadRequest(
            "wrong_type", 'steps must be a non-empty array of step numbers, or "all"', pointer="/steps"
        )
    return value


def proposal(request: Request) -> tuple[dict[str, Any], DecisionRecord, UUID | None]:
    """What `decisions/` would take, one level deeper; the same faults, the same codes."""
    document = read_document(request, private=frozenset({"proposal"}))
    refuse_members(document, ("proposal",), ("previous_advice_id",))
    previous = document.get("previous_advice_id")
    if previous is not None and not (type(previous) is str and is_uuid7(previous)):
        raise BadRequest("bad_value", "must be the UUIDv7 of an advice", pointer="/previous_advice_id")
    told = document["proposal"]
    if type(told) is not dict:
        raise BadRequest("wrong_type", "must be an object", pointer="/proposal", reason="type")
    try:
        record = DecisionRecord.from_document(told)
    except EcpError as error:
        error.pointer = f"/proposal{error.pointer or ''}"
        raise
    return told, record, UUID(previous) if previous is not None else None


def key(request: Request) -> str | None:
    """The Idempotency-Key, which becomes the id of what is stored."""
    found = idempotency_key(request)
    if found is not None and not is_uuid7(found):
        raise BadRequest("bad_value", "Idempotency-Key must be a UUIDv7")
    return found


def number(text: str) -> int:
    """A number of an address; whatever is none leads nowhere."""
    if not _NUMBER.fullmatch(text):
        raise NotFound("not_found", "there is no such address")
    return int(text)


# --- simulations

LAST_N = 10_000
_MEMBERS = ("ruleset", "version", "source_yaml", "against", "last_n", "from", "to", "filters")


class SimulationAsked(NamedTuple):
    """Candidate: a version or a file; `against` is the number of an older version, None what was recorded."""

    ruleset: str | None
    version: int | None
    source: bytes | None
    against: int | None
    wanted: RecordedFilter


def simulation(request: Request) -> SimulationAsked:
    document = body(request, (), _MEMBERS)
    source = document.get("source_yaml")
    if (source is None) == ("ruleset" not in document):
        detail = "name ruleset and version, or send source_yaml"
        raise BadRequest("bad_value", detail, pointer="/ruleset")
    if source is not None and type(source) is not str:
        raise BadRequest("wrong_type", "must be the text of a rule file", pointer="/source_yaml")
    against = None if document.get("against", "recorded") == "recorded" else _whole(document, "against")
    return SimulationAsked(
        ruleset=text(document, "ruleset") or None,
        version=_whole(document, "version") if source is None else None,
        source=source.encode() if source is not None else None,
        against=against,
        wanted=_wanted(document),
    )


def _wanted(document: dict[str, Any]) -> RecordedFilter:
    filters = document.get("filters", {})
    if type(filters) is not dict:
        raise BadRequest("wrong_type", "must be an object", pointer="/filters")
    try:
        refuse_members(filters, (), ("agent", "action", "level"))
        level = choice(filters, "level", Level).value if "level" in filters else None
        agent, action = text(filters, "agent", _NAME), text(filters, "action", _NAME)
    except EcpError as error:
        error.pointer = f"/filters{error.pointer or ''}"
        raise
    last = _whole(document, "last_n") if "last_n" in document else LAST_N
    if last > MOST:
        raise BadRequest("bad_value", f"at most {MOST:,} advices are judged anew", pointer="/last_n")
    return RecordedFilter(
        last=last,
        since=time(document, "from") if "from" in document else None,
        until=time(document, "to") if "to" in document else None,
        agent=agent or None,
        action=action or None,
        level=level,
    )


def _whole(document: dict[str, Any], name: str) -> int:
    value = document.get(name)
    if type(value) is not int or value < 1:
        raise BadRequest("bad_value", f"{name} must be a whole number from 1", pointer=f"/{name}")
    return value
