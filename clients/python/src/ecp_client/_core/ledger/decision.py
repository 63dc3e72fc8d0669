# A copy of ledger/core/decision.py, made by clients/python/copy_core.py; change it there.
"""DecisionRecord: what an agent submits, and how it becomes a statement and sealed parts (LEDGER section 5).

A record holds public members, which go into the statement as they are, and private ones, of which the
statement shows a summary and commitments. An instance is always valid: wrong values raise BadRequest.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ecp_client._core.kernel.canonical import MAX_STATEMENT_BYTES, encode, encode_any, parse_document
from ecp_client._core.kernel.clock import format_time
from ecp_client._core.kernel.errors import TooLarge
from ecp_client._core.kernel.ids import new_uuid7
from ecp_client._core.ledger.fields import (
    Member,
    Members,
    Named,
    PrivateObject,
    PrivateText,
    Text,
    refuse,
    visible_characters,
)
from ecp_client._core.ledger.sealing import OPENING_BYTES, commitment
from ecp_client._core.ledger.statement import DECISION_MEMBERS, PART_PATTERN, TIME, UUID7
from ecp_client._core.ledger.summary import summarise, unruled_booleans

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ecp_client._core.ledger.summary import ContextPolicy

__all__ = [
    "PRIVATE_MEMBERS",
    "RECORD",
    "BuiltStatement",
    "DecisionRecord",
    "Part",
    "lint",
    "visible_characters",
]

MAX_PRIVATE_BYTES = 32_768
V = "ecp.decision/1"
DETAIL_PTR = "/explanation_detail"

# Members under the looser rules of LEDGER section 2; the names in `data_subjects` are pointers.
PRIVATE_MEMBERS = frozenset({"context", "explanation_detail", "data_subjects"})

_NOT_IN_STATEMENT = PRIVATE_MEMBERS | {"data_subject"}
_HANDLE = Text(1, 128)

RECORD = Members(
    Member(
        "id",
        UUID7,
        required=False,
        title="Id",
        description="UUIDv7 in lower case, chosen by the client: the idempotency key, unique in the log. "
        "Without it the Idempotency-Key header counts, else the server makes one; a batch line needs it.",
        examples=("019b0a2c-4e00-7000-8000-000000000003",),
    ),
    *DECISION_MEMBERS,
    Member(
        "ts",
        TIME,
        required=False,
        title="Time",
        description="When the agent decided, by its own clock, in UTC with six digits of a second. "
        "Without it the server's time counts.",
        examples=("2026-03-02T09:00:02.000000Z",),
    ),
    Member(
        "context",
        PrivateObject(),
        required=False,
        title="Context (private)",
        description="What the decision rested on. The public statement shows a summary of it; the values are "
        "encrypted and can be erased. Any JSON with finite numbers, integers within 2^53-1.",
        examples=({"amount_eur": 349.99, "channel": "chat"},),
    ),
    Member(
        "explanation_detail",
        PrivateText(1, 8_000),
        required=False,
        title="Explanation in detail (private)",
        description="What cannot be said in public; encrypted and erasable like the context.",
    ),
    Member(
        "data_subject",
        _HANDLE,
        required=False,
        title="Data subject (private)",
        description="Handle of the person whom the private values are about; they are erased together.",
        examples=("customer-88213",),
    ),
    Member(
        "data_subjects",
        Named(PART_PATTERN, _HANDLE, maximum=64),
        required=False,
        title="Data subjects by part (private)",
        description="Other handles for single private values, by pointer.",
        examples=({"/context/driver": "driver-17"},),
    ),
)


class Part(NamedTuple):  # a frozen dataclass takes four times as long to make, and an append makes many
    """A private value with the opening of its commitment."""

    ptr: str
    r: bytes
    value_jcs: bytes
    c: str


@dataclass(frozen=True, slots=True)
class BuiltStatement:
    """The statement, its canonical bytes, and the private values that it commits to."""

    stmt: dict[str, Any]
    raw: bytes
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision as submitted; private members are left out of its repr, so that no log shows them."""

    agent: str
    action: str
    explanation: str
    id: str | None = None
    ts: str | None = None
    model: dict[str, Any] | None = None
    subject: dict[str, Any] | None = None
    alternatives: list[dict[str, Any]] | None = None
    risk: str | None = None
    advisory: dict[str, Any] | None = None
    zone: str | None = None
    refs: list[dict[str, Any]] | None = None
    context: dict[str, Any] | None = field(default=None, repr=False)
    explanation_detail: str | None = field(default=None, repr=False)
    data_subject: str | None = field(default=None, repr=False)
    data_subjects: dict[str, str] | None = field(default=None, repr=False)
    _document: dict[str, Any] = field(init=False, repr=False, compare=False)
    _canonical: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        document = {name: value for name in _RECORD_NAMES if (value := getattr(self, name)) is not None}
        RECORD.check(document)
        _complete(self, document)

    @classmethod
    def from_json(cls, raw: bytes) -> DecisionRecord:
        return cls.from_document(parse_document(raw, private=PRIVATE_MEMBERS))

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> DecisionRecord:
        """Take what `parse_document` read; optional members are absent, never null."""
        RECORD.check(document)
        # The generated constructor would cost as much again as the check: it takes the document apart only
        # for `__post_init__` to put it together.
        record = cls.__new__(cls)
        for name in _RECORD_NAMES:
            _set(record, name, document.get(name))
        _complete(record, dict(document))
        return record

    def canonical(self) -> bytes:
        """RFC 8785 bytes of the record as submitted: equal records, equal bytes."""
        return self._canonical

    def to_json(self) -> bytes:
        return self._canonical

    def public(self, policy: ContextPolicy) -> dict[str, Any]:
        """Show what everyone could read under a policy: public members, summary, pointers of sealed parts."""
        shown, sealed = self._split(policy)
        if sealed:
            shown["sealed"] = [{"ptr": ptr} for ptr in sealed]
        return shown

    def to_statement(
        self,
        *,
        org: str,
        policy: ContextPolicy,
        now: datetime,
        via: dict[str, Any] | None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> BuiltStatement:
        """Build the statement; the parts are its private values, still to be encrypted."""
        stmt, sealed = self._split(policy)
        stmt["v"] = V
        stmt["org"] = org
        uid = stmt.setdefault("id", self.id or new_uuid7(now))
        if self.ts is None:
            stmt["ts"] = format_time(now)
        if via is not None:
            stmt["via"] = via
        parts = _commit(uid, sealed, random_bytes) if sealed else ()
        if parts:
            stmt["sealed"] = [{"ptr": part.ptr, "c": part.c} for part in parts]
        raw = encode(stmt)
        if len(raw) > MAX_STATEMENT_BYTES:
            detail = f"the statement has {len(raw):,} bytes, at most {MAX_STATEMENT_BYTES:,} are allowed"
            raise TooLarge("too_large", detail, pointer="")
        return BuiltStatement(stmt, raw, parts)

    def _split(self, policy: ContextPolicy) -> tuple[dict[str, Any], dict[str, Any]]:
        """Public members with the summary, and the values to seal by pointer in ascending order."""
        public = {name: value for name, value in self._document.items() if name not in _NOT_IN_STATEMENT}
        sealed: dict[str, Any] = {}
        if self.context is not None:
            public["context_summary"], sealed = summarise(self.context, policy)
            public["summary_policy"] = policy.label
        if self.explanation_detail is not None:
            sealed[DETAIL_PTR] = self.explanation_detail  # sorts after every /context/ pointer
        return public, sealed


_set = object.__setattr__  # the one way into a frozen instance
_RECORD_NAMES = tuple(member.name for member in RECORD.members)


def _complete(record: DecisionRecord, document: dict[str, Any]) -> None:
    canonical = _canonical_record(document)
    if len(canonical) > MAX_PRIVATE_BYTES:
        _refuse_large_private(document)
    _set(record, "_document", document)
    _set(record, "_canonical", canonical)


def _canonical_record(document: dict[str, Any]) -> bytes:
    try:
        return encode_any(document)
    except (TypeError, ValueError) as error:
        # Only the context is free enough to hold what JSON cannot, and only when it was not parsed from JSON.
        refuse("bad_value", str(error), "/context")


def _refuse_large_private(document: dict[str, Any]) -> None:
    names = [name for name in ("context", "explanation_detail") if name in document]
    size = sum(len(encode_any(document[name])) for name in names)
    if size > MAX_PRIVATE_BYTES:
        detail = f"{' and '.join(names)}: {size:,} bytes, at most {MAX_PRIVATE_BYTES:,} are allowed"
        raise TooLarge("too_large", detail, pointer=f"/{names[0]}")


def _commit(uid: str, sealed: dict[str, Any], random_bytes: Callable[[int], bytes]) -> tuple[Part, ...]:
    openings = random_bytes(OPENING_BYTES * len(sealed))
    parts = []
    for number, (ptr, value) in enumerate(sealed.items()):
        r = openings[number * OPENING_BYTES : (number + 1) * OPENING_BYTES]
        value_jcs = encode_any(value)
        parts.append(Part(ptr, r, value_jcs, commitment(r, uid, ptr, value_jcs)))
    return tuple(parts)


# --- lint: warnings in the answer, never a refusal

_MIN_DISTINCT_LETTERS = 5
# Above this code point lie scripts that set no blanks between words.
_LAST_SPACED_SCRIPT = "\u058f"
# What it is, its pattern, a sign that it cannot lack, the fewest digits it has.
_LOOKS_PERSONAL = (
    ("an e-mail address", re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{1,255}"), "@", 0),
    ("a phone number", re.compile(r"(?<![\w.])(?:\+|0)[0-9](?:[ ()/.-]{0,3}[0-9]){6,14}(?![0-9])"), "", 7),
    ("an IBAN", re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), "", 8),
)


def _has_few_letters(text: str) -> bool:
    seen: set[str] = set()
    for character in text:
        if character.isalpha():
            seen.add(character.casefold())
            if len(seen) == _MIN_DISTINCT_LETTERS:
                return False
    return True


def lint(record: DecisionRecord, policy: ContextPolicy | None = None) -> list[str]:
    """Warn of an explanation that says little or too much, and of booleans that no rule seals."""
    text = record.explanation
    warnings = []
    if len(text.split()) == 1 and max(text) <= _LAST_SPACED_SCRIPT:
        warnings.append("explanation is a single word")
    if _has_few_letters(text):
        warnings.append(f"explanation has fewer than {_MIN_DISTINCT_LETTERS} distinct letters")
    # Every append pays for this, and a pattern costs more than counting what it cannot do without.
    digits = sum(map(text.count, "0123456789"))
    warnings += [
        f"explanation seems to hold {what}; it is public and permanent"
        for what, pattern, sign, least_digits in _LOOKS_PERSONAL
        if digits >= least_digits and sign in text and pattern.search(text)
    ]
    if record.context is not None and policy is not None:
        warnings += [
            f"context.{name} is shown as it is: a boolean about a person needs the action seal"
            for name in unruled_booleans(record.context, policy)
        ]
    return warnings
