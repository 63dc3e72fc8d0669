"""Reading the bodies of friction's endpoints: closed members, exact types, a problem for everything else."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from advisory.friction.core.values import instant
from ecp_project.api.parsers import read_document
from ecp_project.kernel.errors import BadRequest, EcpError, NotFound
from ecp_project.kernel.ids import is_uuid7
from ledger.api.views import idempotency_key
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
