# A copy of ecp_project/kernel/canonical.py, made by clients/python/copy_core.py; change it there.
"""The canonical profile of LEDGER section 2, and the request JSON of SECURITY section 5.1.

Statements and entries are RFC 8785 bytes under a narrower profile: integers only, names `[a-z0-9_]{1,64}`,
text in NFC without controls. `parse_statement` demands exactly those bytes. `parse_document` takes a request,
in which white space, member order and escapes are free, and lets the private members follow the looser rules
of section 2. Bad bytes are refused, never repaired.

Both parsers judge twice. A fast path proves a good document good with a few passes in C and one walk; what it
cannot prove goes to `_judge`, which walks token by token and names the first fault in the order of section 2.

Inside the profile the encoders of `orjson` and of the standard library give the bytes of RFC 8785. Outside
they do not: floats are written differently, and names beyond the basic plane are sorted by code point instead
of UTF-16 unit. `encode` therefore refuses floats; `encode_any` turns to the library `rfc8785` for the rest.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn
from unicodedata import is_normalized

from ecp_client._core.kernel.errors import BadRequest, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_STATEMENT_BYTES = 49_152
MAX_DOCUMENT_BYTES = 65_536
MAX_DEPTH = 16
MAX_SAFE_INTEGER = 2**53 - 1
MAX_SEPARATORS = 2_000
MAX_TEXT = 20_000

NAME_PATTERN = r"[a-z0-9_]{1,64}"

_WHITE_SPACE = " \t\n\r"
_SHOWN_NAME = 80
_SAFE_INTEGER_LENGTH = len(str(-MAX_SAFE_INTEGER))
_LEAST_WITHOUT_EXPONENT = 1e-4
_match_name = re.compile(NAME_PATTERN).fullmatch

# Cc save tab and newline, surrogates, noncharacters (two at the end of each plane and U+FDD0..U+FDEF).
_find_forbidden = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\ud800-\\udfff\\ufdd0-\\ufdef"
    + "".join(f"\\U{plane:04x}fffe\\U{plane:04x}ffff" for plane in range(17))
    + "]"
).search
_find_unsayable = re.compile("[\\x00\\ud800-\\udfff]").search

_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_find_astral = re.compile(rb"[\xf0-\xf4]").search
_replace_surrogates = re.compile("[\\ud800-\\udfff]").sub


def parse_statement(
    raw: bytes, *, max_bytes: int = MAX_STATEMENT_BYTES, max_depth: int = MAX_DEPTH
) -> dict[str, Any]:
    """Read the object behind canonical bytes of the profile."""
    text = _admitted_text(raw, max_bytes=max_bytes, max_depth=max_depth)
    try:
        document, _ = _PLAIN.raw_decode(text)
        # Equal bytes leave no room for white space, other escapes, a changed order or a member named twice.
        if type(document) is dict and encode(document) == raw and _is_in_profile(document):
            return document
    except (ValueError, TypeError):
        pass  # `_judge` finds out why and says where
    _judge(text)
    raise BadRequest("not_canonical", "the bytes differ from their own RFC 8785 form", pointer="")


def parse_document(
    raw: bytes, *, private: frozenset[str] = frozenset(), max_bytes: int = MAX_DOCUMENT_BYTES
) -> dict[str, Any]:
    """Read a request object; its top-level members named in `private` may hold floats and any names."""
    text = _admitted_text(raw, max_bytes=max_bytes, max_depth=MAX_DEPTH)
    _refuse_many_members(raw)
    text = text.strip(_WHITE_SPACE)
    try:
        document, end = _REQUEST.raw_decode(text)
    except ValueError:
        return _judge(text, private=private, max_text=MAX_TEXT)
    # U+0000 and lone surrogates can only come from an escape, so private text without escapes needs no look.
    sure = (
        end == len(text)
        and type(document) is dict
        and len(text) <= MAX_TEXT
        and (not private or "\\u" not in text)
        and _is_in_profile(document, private)
    )
    return document if sure else _judge(text, private=private, max_text=MAX_TEXT)


def encode(value: Any) -> bytes:
    """Encode a value of the profile; TypeError for a float, ValueError for what JSON text cannot hold."""
    if _floats(value):
        raise TypeError("the profile has no floats")
    return _dump(value)


def encode_any(value: Any) -> bytes:
    """Encode by RFC 8785 in full, floats and foreign names included (sealed values, request digests)."""
    if type(value) is str:
        return _dump(value)  # a text holds neither names to sort nor numbers to judge
    floats = _floats(value)
    if floats & _EXPONENT_NEEDED:
        return _dump_by_library(value)
    encoded = _dump(_with_whole_floats_as_integers(value) if floats & _WHOLE else value)
    # UTF-16 units and code points sort alike until a name leaves the basic plane.
    if not encoded.isascii() and _find_astral(encoded) and not _names_are_ascii(value):
        return _dump_by_library(value)
    return encoded


def text_fault(text: str) -> str | None:
    """Name what the profile forbids in a text: `bad_text`, `text_not_nfc` or nothing."""
    if text.isascii() and text.isprintable():
        return None
    if _find_forbidden(text):
        return "bad_text"
    return None if is_normalized("NFC", text) else "text_not_nfc"


def pointer_token(name: str) -> str:
    """Escape a member name for an RFC 6901 pointer; cut and cleaned, since it may hold anything."""
    shown = name if len(name) <= _SHOWN_NAME else name[:_SHOWN_NAME] + "\u2026"
    return _replace_surrogates("\ufffd", shown).replace("~", "~0").replace("/", "~1")


# --- limits that are judged on the bytes, before any parser sees them


def _admitted_text(raw: bytes, *, max_bytes: int, max_depth: int) -> str:
    if len(raw) > max_bytes:
        raise TooLarge("too_large", f"{len(raw):,} bytes, at most {max_bytes:,} are allowed", pointer="")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise BadRequest("malformed_json", "starts with a byte order mark", pointer="", reason="encoding")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} is not UTF-8"
        raise BadRequest("malformed_json", detail, pointer="", reason="encoding") from None
    # So few brackets cannot nest too deeply; only other documents are scanned.
    if raw.count(b"[") + raw.count(b"{") > max_depth and _is_too_deep(raw, max_depth):
        detail = f"nested more than {max_depth} levels deep"
        raise BadRequest("too_deep", detail, pointer="", reason="too_deep")
    return text


def _outside_strings(raw: bytes) -> bytes:
    """Bytes outside string tokens, exact for as much of `raw` as a JSON parser reads before it stops.

    Escaped backslashes go first, then escaped quotes; each quote left over begins or ends a string.
    """
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b" ".join(raw.split(b'"')[::2])


def _is_too_deep(raw: bytes, max_depth: int) -> bool:
    depth = 0
    for mark in _outside_strings(raw).translate(None, _ALL_BUT_BRACKETS):
        depth += 1 if mark in b"[{" else -1
        if depth > max_depth:
            return True
    return False


def _refuse_many_members(raw: bytes) -> None:
    if raw.count(b":") + raw.count(b",") <= MAX_SEPARATORS:
        return
    bare = _outside_strings(raw)
    if bare.count(b":") + bare.count(b",") > MAX_SEPARATORS:
        detail = f"more than {MAX_SEPARATORS:,} members and items"
        raise BadRequest("too_many_members", detail, pointer="", reason="too_many_members")


# --- fast path: proves a document good, says nothing about a bad one


class _Names(dict[str, bool]):
    """Answers whether a text is a member name of the profile; remembers good ones, up to a bound."""

    _BOUND = 4096

    def __missing__(self, name: str) -> bool:
        good = _match_name(name) is not None
        if good and len(self) < self._BOUND:
            self[name] = True
        return good


_IS_NAME = _Names()


class _NotProvenError(ValueError):
    """The fast path gives up; the judge decides."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _NotProvenError
    return members


def _safe_integer(token: str) -> int:
    # The length comes first because int() of a long token costs quadratic time.
    if len(token) > _SAFE_INTEGER_LENGTH or token == "-0":  # noqa: S105 - a JSON token, no password
        raise _NotProvenError
    number = int(token)
    if not -MAX_SAFE_INTEGER <= number <= MAX_SAFE_INTEGER:
        raise _NotProvenError
    return number


def _finite_float(token: str) -> float:
    number = float(token)
    if number - number != 0:
        raise _NotProvenError
    return number


def _give_up(_: str) -> NoReturn:
    raise _NotProvenError


_PLAIN = json.JSONDecoder(parse_int=_safe_integer, parse_float=_give_up, parse_constant=_give_up)
_REQUEST = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_int=_safe_integer, parse_float=_finite_float, parse_constant=_give_up
)


def _is_in_profile(value: Any, private: frozenset[str] = frozenset()) -> bool:
    """Whether names, texts and the absence of floats follow the profile; not below the members `private`."""
    kind = type(value)
    if kind is str:
        return (value.isascii() and value.isprintable()) or text_fault(value) is None
    if kind is dict:
        for name, member in value.items():
            if not (_IS_NAME[name] and (name in private or _is_in_profile(member))):
                return False
        return True
    if kind is list:
        return all(map(_is_in_profile, value))
    return kind is not float


# --- slow path: finds the first fault in the order of LEDGER section 2


class _Members(list[tuple[str, Any]]):
    """An object before its names are judged: duplicates are still there."""


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest("malformed_json", f"{name} is no JSON number", pointer="", reason="number")


_TOKENS = json.JSONDecoder(
    object_pairs_hook=_Members, parse_int=_Number, parse_float=_Number, parse_constant=_refuse_constant
)


def _judge(
    text: str, *, private: frozenset[str] = frozenset(), max_text: int = MAX_STATEMENT_BYTES
) -> dict[str, Any]:
    try:
        tokens = _TOKENS.decode(text)
    except json.JSONDecodeError as error:
        detail = f"not JSON at character {error.pos}: {error.msg}"
        raise BadRequest("malformed_json", detail, pointer="", reason="syntax") from None
    walk = _Walk(private, max_text)
    document = walk.visit(tokens, loose=False)
    walk.raise_first(is_object=type(document) is dict)
    judged: dict[str, Any] = document
    return judged


class _Walk:
    """One walk over the tokens that keeps the first fault of each check and builds the plain value."""

    _CHECKS = ("duplicate_key", "wrong_type", "number", "bad_key", "text")

    def __init__(self, private: frozenset[str], max_text: int) -> None:
        self.private = private
        self.max_text = max_text
        self.path: list[str] = []
        self.faults: dict[str, BadRequest] = {}

    def raise_first(self, *, is_object: bool) -> None:
        if not is_object:
            detail = "the document must be an object"
            self.faults["wrong_type"] = BadRequest("wrong_type", detail, pointer="", reason="not_object")
        for check in self._CHECKS:
            if check in self.faults:
                raise self.faults[check]

    def visit(self, token: Any, *, loose: bool) -> Any:
        kind = type(token)
        if kind is _Members:
            return self._object(token, loose=loose)
        if kind is list:
            return [self._at(str(index), item, loose=loose) for index, item in enumerate(token)]
        if kind is _Number:
            return self._number(token, loose=loose)
        if kind is str:
            self._text(token, loose=loose)
        return token

    def _at(self, step: str, token: Any, *, loose: bool) -> Any:
        self.path.append(step)
        value = self.visit(token, loose=loose)
        self.path.pop()
        return value

    def _object(self, pairs: _Members, *, loose: bool) -> dict[str, Any]:
        top = not self.path
        members: dict[str, Any] = {}
        for name, token in pairs:
            if name in members:
                self._note("duplicate_key", "duplicate_key", "named twice", "duplicate_key", name)
            if loose and _find_unsayable(name):
                self._note("text", "bad_text", "U+0000 or a lone surrogate in a name", "character", name)
            if not loose and not _IS_NAME[name]:
                self._note("bad_key", "bad_key", "", "key", name)
            members[name] = self._at(name, token, loose=loose or (top and name in self.private))
        return members

    def _number(self, token: _Number, *, loose: bool) -> int | float:
        if token.lstrip("-").isdigit():
            if token == "-0" and not loose:  # noqa: S105 - a JSON token, no password
                self._note("number", "number_not_integer", "-0 is not allowed, write 0", "number")
            if len(token) <= _SAFE_INTEGER_LENGTH and abs(int(token)) <= MAX_SAFE_INTEGER:
                return int(token)
            self._note("number", "integer_out_of_range", "", "number")
            return 0
        if not loose:
            self._note("number", "number_not_integer", "", "number")
            return 0
        number = float(token)
        if number - number != 0:
            self._note("number", "integer_out_of_range", "too large for a double", "number")
        return number

    def _text(self, text: str, *, loose: bool) -> None:
        if loose:
            if _find_unsayable(text):
                self._note("text", "bad_text", "U+0000 or a lone surrogate", "character")
            return
        fault = text_fault(text)
        if fault:
            self._note("text", fault, "", "nfc" if fault == "text_not_nfc" else "character")
        elif len(text) > self.max_text:
            detail = f"{len(text):,} characters, at most {self.max_text:,} are allowed"
            self._note("text", "bad_value", detail, "length")

    def _note(self, check: str, code: str, detail: str, reason: str, *name: str) -> None:
        if check not in self.faults:
            pointer = "".join(f"/{pointer_token(step)}" for step in (*self.path, *name))
            self.faults[check] = BadRequest(code, detail, pointer=pointer, reason=reason)


# --- encoders


def _dump_by_standard_library(value: Any) -> bytes:
    return _JSON_ENCODER.encode(value).encode("utf-8")


_JSON_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _best_encoder() -> Callable[[Any], bytes]:
    try:
        import orjson  # noqa: PLC0415 - absent where the offline verifier runs with `cryptography` alone
    except ImportError:
        return _dump_by_standard_library

    def dump_by_orjson(value: Any) -> bytes:
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError as error:
            raise ValueError(str(error)) from None

    return dump_by_orjson


_dump = _best_encoder()


def _dump_by_library(value: Any) -> bytes:
    import rfc8785  # noqa: PLC0415 - the offline verifier runs without it

    return rfc8785.dumps(value)


# What kinds of floats occur in a value, as bits. Encoders print a fraction alike as long as it needs no
# exponent; RFC 8785 writes a whole float as an integer.
_FRACTION, _WHOLE, _EXPONENT_NEEDED = 1, 2, 4


def _floats(value: Any) -> int:
    """Which kinds of floats occur; TypeError or ValueError for what RFC 8785 cannot hold.

    Exact types, because an encoder that meets a subclass, a tuple or a number as a name converts it silently.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return 0
    if kind is dict:
        found = 0
        for name, member in value.items():
            if type(name) is not str:
                raise TypeError(f"a name must be a string, not {type(name).__name__}")
            if type(member) is not str:
                found |= _floats(member)
        return found
    if kind is list:
        found = 0
        for item in value:
            found |= _floats(item)
        return found
    return _kind_of_number(value)


def _kind_of_number(value: Any) -> int:
    if type(value) is int:
        if not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            raise ValueError(f"integer out of range: {value}")
        return 0
    if type(value) is not float:
        raise TypeError(f"JSON has no {type(value).__name__}")
    if value - value != 0:
        raise ValueError(f"JSON has no {value}")
    if value.is_integer():
        return _WHOLE if abs(value) <= MAX_SAFE_INTEGER else _EXPONENT_NEEDED
    return _FRACTION if abs(value) >= _LEAST_WITHOUT_EXPONENT else _EXPONENT_NEEDED


def _with_whole_floats_as_integers(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() else value
    if kind is dict:
        return {
            name: member if type(member) is str else _with_whole_floats_as_integers(member)
            for name, member in value.items()
        }
    if kind is list:
        return [_with_whole_floats_as_integers(item) for item in value]
    return value


def _names_are_ascii(value: Any) -> bool:
    if type(value) is dict:
        return all(name.isascii() and _names_are_ascii(member) for name, member in value.items())
    return type(value) is not list or all(map(_names_are_ascii, value))
