# A copy of ledger/core/entry.py, made by clients/python/copy_core.py; change it there.
"""An entry: the statement as sequenced (LEDGER section 7).

    {"log":"<origin>","prev":"<hex>","rcvd":"<TIME>","seq":<n>,"sigs":[..],"stmt":<statement>,"v":"ecp.entry/1"}
    {"late":true,"log":.., .. ,"sigs":[..],"spooled_at":"<TIME>","stmt":..,"v":"ecp.entry/1"}   from a spool

The bytes are spliced around the statement bytes, never re-encoded, and the result is canonical because the
members are written in their sorted order. Reading goes the same way backwards: one pattern for everything
around the statement, then the statement itself is parsed, walked and compared with its own canonical
encoding.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ecp_client._core.kernel import signing
from ecp_client._core.kernel.canonical import MAX_DEPTH, MAX_SAFE_INTEGER, MAX_STATEMENT_BYTES
from ecp_client._core.kernel.ids import UUID7_RE
from ecp_client._core.ledger.merkle import leaf_hash

if TYPE_CHECKING:
    from types import ModuleType

orjson: ModuleType | None
try:
    import orjson
except ImportError:  # the verifier runs with `cryptography` alone
    orjson = None

__all__ = [
    "MAX_ENTRY_BYTES",
    "Entry",
    "EntrySyntax",
    "Signature",
    "genesis",
    "leaf_hash",
    "parse_entry",
    "read_statement",
    "signed_message",
    "splice",
    "stmt_digest",
]

MAX_ENTRY_BYTES = 65_535

_TIME = rb"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z"
# 16 and 64 bytes of base64url leave four spare bits in the last character; in A Q g w they are zero.
_SIGNATURE = rb'\{"alg":"ed25519","kid":"[A-Za-z0-9_-]{21}[AQgw]","sig":"[A-Za-z0-9_-]{85}[AQgw]"\}'
_HEAD = re.compile(
    rb'\{(?:"late":(true),)?"log":"([!#-*,-\[\]-~]{1,255})","prev":"([0-9a-f]{64})","rcvd":"('
    + _TIME
    + rb')"'
    rb',"seq":(0|[1-9][0-9]{0,15}),"sigs":(\[\]|\[' + _SIGNATURE + rb"(?:," + _SIGNATURE + rb"){0,3}\])"
    rb'(?:,"spooled_at":"(' + _TIME + rb')")?,"stmt":'
)
_TAIL = b',"v":"ecp.entry/1"}'
_SIGNATURE_MEMBERS = re.compile(rb'"kid":"([^"]+)","sig":"([^"]+)"')

_NAME = re.compile(r"[a-z0-9_]{1,64}")
# Controls but newline and tab, and the 66 noncharacters: sets that no version of Unicode will change.
_BAD_TEXT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)


class EntrySyntax(ValueError):
    """The bytes are no entry; the text says where they stop being one."""


class Signature(NamedTuple):
    alg: str
    kid: str
    sig: bytes


class Entry(NamedTuple):
    """A parsed entry. A tuple rather than a dataclass: the verifier builds 100,000 of them in a second."""

    raw: bytes
    log: str
    prev: bytes
    rcvd: str
    seq: int
    sigs_raw: bytes
    stmt: dict[str, Any]
    stmt_raw: bytes
    spooled_at: str | None

    @property
    def late(self) -> bool:
        return self.spooled_at is not None

    @property
    def sigs(self) -> tuple[Signature, ...]:
        return tuple(
            Signature("ed25519", kid.decode(), signing.b64url_decode(sig.decode()))
            for kid, sig in _SIGNATURE_MEMBERS.findall(self.sigs_raw)
        )


def genesis(origin: str) -> bytes:
    """`prev` of the first entry: it ties the chain to the log's name."""
    return sha256(b"ecp-genesis/v1\n" + origin.encode() + b"\n").digest()


def stmt_digest(stmt_raw: bytes) -> str:
    return "sha256:" + sha256(stmt_raw).hexdigest()


def signed_message(origin: str, stmt_raw: bytes) -> bytes:
    """Name what a client signs: bound to the log, so that no statement can be replayed into another."""
    return b"ecp-stmt/v1\n" + origin.encode() + b"\n" + stmt_raw


def splice(
    *, origin: str, prev: bytes, rcvd: str, seq: int, sigs: bytes, stmt: bytes, spooled_at: str | None = None
) -> bytes:
    """Entry bytes around canonical `sigs` and `stmt`; a spooled statement makes a late entry."""
    late, spooled = ("", "") if spooled_at is None else ('"late":true,', f',"spooled_at":"{spooled_at}"')
    head = f'{{{late}"log":"{origin}","prev":"{prev.hex()}","rcvd":"{rcvd}","seq":{seq},"sigs":'
    entry = b"".join((head.encode(), sigs, spooled.encode(), b',"stmt":', stmt, _TAIL))
    if len(entry) > MAX_ENTRY_BYTES:
        msg = f"entry {seq} has {len(entry)} bytes, at most {MAX_ENTRY_BYTES} are possible"
        raise AssertionError(msg)
    return entry


def parse_entry(raw: bytes) -> Entry:
    head = _HEAD.match(raw)
    if head is None or not raw.endswith(_TAIL) or len(raw) > MAX_ENTRY_BYTES:
        raise EntrySyntax("the envelope is not that of an entry")
    late, log, prev, rcvd, seq, sigs, spooled_at = head.groups()
    if (late is None) != (spooled_at is None):
        raise EntrySyntax("late and spooled_at belong together")
    number = int(seq)
    if number > MAX_SAFE_INTEGER:
        raise EntrySyntax("seq is beyond 2^53-1")
    stmt_raw = raw[head.end() : -len(_TAIL)]
    return Entry(
        raw,
        log.decode(),
        bytes.fromhex(prev.decode()),
        rcvd.decode(),
        number,
        sigs,
        read_statement(stmt_raw),
        stmt_raw,
        None if spooled_at is None else spooled_at.decode(),
    )


def read_statement(raw: bytes) -> dict[str, Any]:
    """Read a stored statement by every rule of LEDGER section 2 that no version of Unicode can change.

    NFC is left out on purpose: it was judged when the statement was accepted, and a verifier does not
    re-judge old text under newer tables. Which members a kind may have is the concern of acceptance too.
    """
    if len(raw) > MAX_STATEMENT_BYTES:
        raise EntrySyntax("the statement is too long")
    try:
        statement = _decode(raw)
        if type(statement) is not dict:
            raise EntrySyntax("the statement is not an object")
        # Pure ASCII without an escape or DEL cannot hold a character that is not allowed.
        _walk(statement, 1, plain=raw.isascii() and b"\\" not in raw and b"\x7f" not in raw)
        canonical = _encode(statement) == raw
    except (ValueError, TypeError, RecursionError) as error:
        raise error if isinstance(error, EntrySyntax) else EntrySyntax("the statement is not JSON") from None
    if not canonical:
        raise EntrySyntax("the statement is not its own canonical encoding")
    identity = statement.get("id")
    if type(identity) is not str or not UUID7_RE.fullmatch(identity):
        raise EntrySyntax("the statement has no id")
    get = statement.get
    if type(get("v")) is not str or type(get("org")) is not str or type(get("ts")) is not str:
        raise EntrySyntax("the statement lacks v, org or ts")
    return statement


def _walk(value: dict[str, Any] | list[Any], depth: int, *, plain: bool) -> None:  # noqa: C901 - one branch a type
    """Check names, numbers, texts, depth; by exact type, as to `isinstance` a bool is an int."""
    if depth > MAX_DEPTH:
        raise EntrySyntax("the statement is nested too deeply")
    if type(value) is dict:
        if not _KNOWN_NAMES.issuperset(value):
            _learn_names(value)
        children: Any = value.values()
    else:
        children = value
    for child in children:
        kind = type(child)
        if kind is str:
            # What can be printed is allowed under any version of Unicode; the pattern is exact but slow.
            if not plain and not child.isprintable() and _BAD_TEXT.search(child):
                raise EntrySyntax("the statement holds a character that is not allowed")
        elif kind is dict or kind is list:
            _walk(child, depth + 1, plain=plain)
        elif kind is int:
            if not -MAX_SAFE_INTEGER <= child <= MAX_SAFE_INTEGER:
                raise EntrySyntax("an integer is beyond 2^53-1")
        elif kind is float:
            raise EntrySyntax("a number is not an integer")


# Member names are few and fixed, so a set look-up replaces a pattern match; bounded against a hostile log.
_KNOWN_NAMES: set[str] = set()
_MAX_KNOWN_NAMES = 10_000


def _learn_names(value: dict[str, Any]) -> None:
    if not all(map(_NAME.fullmatch, value)):
        raise EntrySyntax("a member name is not allowed")
    if len(_KNOWN_NAMES) < _MAX_KNOWN_NAMES:
        _KNOWN_NAMES.update(value)


def _refuse_number(text: str) -> NoReturn:
    msg = f"a number is not an integer: {text[:40]}"
    raise EntrySyntax(msg)


_stdlib_decode = json.JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number).decode
_stdlib_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _decode(raw: bytes) -> Any:
    # Neither parser refuses a repeated name, but it keeps only the last, so the re-encoding differs.
    return _stdlib_decode(raw.decode()) if orjson is None else orjson.loads(raw)


def _encode(statement: dict[str, Any]) -> bytes:
    if orjson is None:
        return _stdlib_encoder.encode(statement).encode()
    encoded: bytes = orjson.dumps(statement, option=orjson.OPT_SORT_KEYS)
    return encoded
