"""Field types of which statements and records are made: each judges a value and knows its JSON Schema.

One table of fields serves acceptance and `schema/*.json`, so the two cannot drift apart. A fault is a
BadRequest with the code of LEDGER section 3. Its pointer grows on the way out, so that a good value pays
nothing for it.

The schema is the weaker of the two: it cannot say NFC, nor count visible characters.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from ecp_project.kernel.canonical import pointer_token, text_fault
from ecp_project.kernel.clock import TIME_PATTERN, parse_time
from ecp_project.kernel.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MIN_VISIBLE = 10

_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me"})
# Braille blank and the Hangul fillers are classed as signs and letters, yet show nothing.
_INVISIBLE_CHARACTERS = frozenset("\u2800\u115f\u1160\u3164\uffa0")
_INVISIBLE_ASCII = bytes([*range(0x21), 0x7F])

Schema = dict[str, Any]


class Field(Protocol):
    """What a member may hold."""

    def check(self, value: Any) -> None:
        """Raise BadRequest, its pointer relative to the value, unless the value is allowed."""

    def json_schema(self) -> Schema:
        """Describe the rule in JSON Schema 2020-12."""


def refuse(code: str, detail: str, pointer: str = "", reason: str | None = None) -> NoReturn:
    raise BadRequest(code, detail, pointer=pointer, reason=reason)


def refuse_type(value: Any, wanted: str) -> NoReturn:
    found = "null" if value is None else _JSON_TYPES.get(type(value), type(value).__name__)
    refuse("wrong_type", f"must be {wanted}, not {found}", reason="type")


_JSON_TYPES = {
    bool: "true or false",
    str: "a string",
    int: "an integer",
    float: "a number",
    dict: "an object",
    list: "an array",
}


def under(step: str | int, error: BadRequest) -> BadRequest:
    """Let a fault of a part point from the whole."""
    error.pointer = f"/{pointer_token(str(step))}{error.pointer}"
    return error


def visible_characters(text: str) -> int:
    """Count what a reader sees (LEDGER section 4): no blanks, controls, combining marks or fillers."""
    if text.isascii():
        return len(text.encode("ascii").translate(None, _INVISIBLE_ASCII))
    return sum(1 for _ in _visible(text))


def short_reason(reason: str) -> str:
    """What the reason of an act lacks, in words; empty when it is long enough."""
    visible = visible_characters(reason)
    if visible >= MIN_VISIBLE:
        return ""
    return f"the reason has {visible} visible characters, at least {MIN_VISIBLE} are needed"


def _visible(text: str) -> Iterator[str]:
    category = unicodedata.category
    for character in unicodedata.normalize("NFC", text):
        if category(character) not in _INVISIBLE_CATEGORIES and character not in _INVISIBLE_CHARACTERS:
            yield character


def _check_length(value: str, minimum: int, maximum: int) -> None:
    if not minimum <= len(value) <= maximum:
        detail = f"has {len(value):,} characters, {minimum:,} to {maximum:,} are allowed"
        refuse("bad_value", detail, reason="length")


def _check_text(value: str) -> None:
    fault = text_fault(value)
    if fault is not None:
        refuse(fault, "", reason="nfc" if fault == "text_not_nfc" else "character")


class Text:
    """A string of the profile within a length."""

    __slots__ = ("maximum", "minimum")

    def __init__(self, minimum: int, maximum: int) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def check(self, value: Any) -> None:
        if type(value) is not str:
            refuse_type(value, "a string")
        if not self.minimum <= len(value) <= self.maximum:
            _check_length(value, self.minimum, self.maximum)
        if not (value.isascii() and value.isprintable()):
            _check_text(value)

    def json_schema(self) -> Schema:
        return {"type": "string", "minLength": self.minimum, "maxLength": self.maximum}


class PrivateText(Text):
    """A string that is sealed: outside the profile, only what JSON text cannot carry is refused."""

    __slots__ = ()

    def check(self, value: Any) -> None:
        if type(value) is not str:
            refuse_type(value, "a string")
        _check_length(value, self.minimum, self.maximum)


class Explained(Text):
    """A text that has to explain something: at least 10 visible characters."""

    __slots__ = ()

    def __init__(self, maximum: int) -> None:
        super().__init__(MIN_VISIBLE, maximum)

    def check(self, value: Any) -> None:
        if type(value) is not str:
            refuse_type(value, "a string")
        if len(value) > self.maximum:
            _check_length(value, 0, self.maximum)
        if value.isascii():
            if not value.isprintable():
                _check_text(value)
            if len(value.encode("ascii").translate(None, _INVISIBLE_ASCII)) < MIN_VISIBLE:
                self._refuse(value)
        else:
            _check_text(value)
            if sum(1 for _ in islice(_visible(value), MIN_VISIBLE)) < MIN_VISIBLE:
                self._refuse(value)

    @staticmethod
    def _refuse(value: str) -> NoReturn:
        visible = visible_characters(value)
        raise BadRequest(
            "explanation_too_short",
            f"has {visible} visible characters, at least {MIN_VISIBLE} are needed",
            pointer="",
            visible=visible,
            required=MIN_VISIBLE,
        )


class Pattern:
    """A string of ASCII characters that one regular expression describes in full."""

    __slots__ = ("_match", "maximum", "pattern", "reason")

    def __init__(self, pattern: str, *, maximum: int | None = None, reason: str | None = None) -> None:
        self.pattern = pattern
        self.maximum = maximum
        self.reason = reason
        self._match = re.compile(pattern, re.ASCII).fullmatch

    def check(self, value: Any) -> None:
        if type(value) is not str:
            refuse_type(value, "a string")
        if self.maximum is not None and len(value) > self.maximum:
            _check_length(value, 1, self.maximum)
        if self._match(value) is None:
            refuse("bad_value", f"must match {self.pattern}", reason=self.reason)

    def json_schema(self) -> Schema:
        schema: Schema = {"type": "string", "pattern": f"^(?:{self.pattern})$"}
        return schema if self.maximum is None else schema | {"maxLength": self.maximum}


class Time:
    """An instant as `kernel.clock` writes it."""

    __slots__ = ()

    def check(self, value: Any) -> None:
        if type(value) is not str:
            refuse_type(value, "a string")
        try:
            parse_time(value)
        except ValueError:
            refuse("bad_value", "must be a time of the form YYYY-MM-DDTHH:MM:SS.ffffffZ")

    def json_schema(self) -> Schema:
        return {"type": "string", "format": "date-time", "pattern": f"^{TIME_PATTERN}$"}


class Choice:
    """One of a few words."""

    __slots__ = ("_allowed", "words")

    def __init__(self, *words: str) -> None:
        self.words = words
        self._allowed = frozenset(words)

    def check(self, value: Any) -> None:
        if type(value) is not str:
            refuse_type(value, "a string")
        if value not in self._allowed:
            refuse("bad_value", f"must be one of {', '.join(self.words)}")

    def json_schema(self) -> Schema:
        return {"const": self.words[0]} if len(self.words) == 1 else {"enum": list(self.words)}


class Flag:
    """True or false, no other spelling."""

    __slots__ = ()

    def check(self, value: Any) -> None:
        if type(value) is not bool:
            refuse_type(value, "true or false")

    def json_schema(self) -> Schema:
        return {"type": "boolean"}


class Integer:
    """An integer within bounds."""

    __slots__ = ("maximum", "minimum")

    def __init__(self, minimum: int, maximum: int) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def check(self, value: Any) -> None:
        if type(value) is not int:
            refuse_type(value, "an integer")
        if not self.minimum <= value <= self.maximum:
            refuse("bad_value", f"must be {self.minimum:,} to {self.maximum:,}")

    def json_schema(self) -> Schema:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


class Items:
    """An array of one kind of item; `key` makes it strictly ascending, so sorted and without repeats."""

    __slots__ = ("_key", "item", "maximum", "minimum")

    def __init__(
        self, item: Field, *, minimum: int = 0, maximum: int, key: Callable[[Any], Any] | None = None
    ) -> None:
        self.item = item
        self.minimum = minimum
        self.maximum = maximum
        self._key = key

    def check(self, value: Any) -> None:
        if type(value) is not list:
            refuse_type(value, "an array")
        if not self.minimum <= len(value) <= self.maximum:
            refuse("bad_value", f"has {len(value)} items, {self.minimum} to {self.maximum} are allowed")
        for index, item in enumerate(value):
            try:
                self.item.check(item)
            except BadRequest as error:
                raise under(index, error) from None
        if self._key is not None and any(a >= b for a, b in pairwise(map(self._key, value))):
            refuse("bad_value", "items must be in ascending order without repeats")

    def json_schema(self) -> Schema:
        schema: Schema = {"type": "array", "items": self.item.json_schema(), "maxItems": self.maximum}
        return schema | {"minItems": self.minimum} if self.minimum else schema


@dataclass(frozen=True, slots=True)
class Member:
    """One row of a table of members; title and description are for the reader of the schema."""

    name: str
    field: Field
    required: bool = True
    title: str | None = None
    description: str | None = None
    examples: tuple[Any, ...] = ()

    def json_schema(self) -> Schema:
        schema: Schema = {}
        if self.title:
            schema["title"] = self.title
        if self.description:
            schema["description"] = self.description
        schema |= self.field.json_schema()
        if self.examples:
            schema["examples"] = list(self.examples)
        return schema


class Members:
    """An object with a closed set of members; `rules` judge what one member means for another."""

    __slots__ = ("_checks", "_required", "members", "rules", "schema_rules")

    def __init__(
        self,
        *members: Member,
        rules: tuple[Callable[[Mapping[str, Any]], None], ...] = (),
        schema_rules: Schema | None = None,
    ) -> None:
        self.members = members
        self.rules = rules
        self.schema_rules = schema_rules or {}
        self._checks = {member.name: member.field.check for member in members}
        self._required = {member.name: None for member in members if member.required}.keys()

    def check(self, value: Any) -> None:
        if type(value) is not dict:
            refuse_type(value, "an object")
        self.check_set(value)
        checks = self._checks
        for name, item in value.items():
            try:
                checks[name](item)
            except BadRequest as error:
                raise under(name, error) from None
        for rule in self.rules:
            rule(value)

    def check_set(self, value: Mapping[str, Any]) -> None:
        """Judge which members there are, not what they hold."""
        names = value.keys()
        if not names <= self._checks.keys():
            unknown = next(name for name in names if name not in self._checks)
            refuse("unknown_field", "", f"/{pointer_token(unknown)}")
        if not self._required <= names:
            missing = next(name for name in self._required if name not in names)
            refuse("missing_field", "", f"/{missing}")

    def json_schema(self) -> Schema:
        schema: Schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {member.name: member.json_schema() for member in self.members},
            "required": list(self._required),
        }
        return schema | self.schema_rules


class Named:
    """An object whose names are data: each must match `pattern`, each value the field."""

    __slots__ = ("_match", "field", "maximum", "pattern")

    def __init__(self, pattern: str, field: Field, *, maximum: int) -> None:
        self.pattern = pattern
        self.field = field
        self.maximum = maximum
        self._match = re.compile(pattern, re.ASCII).fullmatch

    def check(self, value: Any) -> None:
        if type(value) is not dict:
            refuse_type(value, "an object")
        if len(value) > self.maximum:
            refuse("bad_value", f"has {len(value)} members, at most {self.maximum} are allowed")
        for name, item in value.items():
            if self._match(name) is None:
                refuse("bad_value", f"the name must match {self.pattern}", f"/{pointer_token(name)}")
            try:
                self.field.check(item)
            except BadRequest as error:
                raise under(name, error) from None

    def json_schema(self) -> Schema:
        return {
            "type": "object",
            "maxProperties": self.maximum,
            "propertyNames": {"pattern": f"^(?:{self.pattern})$"},
            "additionalProperties": self.field.json_schema(),
        }


class AnyOf:
    """A value that one of several fields allows."""

    __slots__ = ("_wanted", "fields")

    def __init__(self, wanted: str, *fields: Field) -> None:
        self.fields = fields
        self._wanted = wanted

    def check(self, value: Any) -> None:
        for field in self.fields:
            try:
                field.check(value)
            except BadRequest:
                continue
            return
        refuse("bad_value", f"must be {self._wanted}")

    def json_schema(self) -> Schema:
        return {"anyOf": [field.json_schema() for field in self.fields]}


class Null:
    """Nothing but null."""

    __slots__ = ()

    def check(self, value: Any) -> None:
        if value is not None:
            refuse_type(value, "null")

    def json_schema(self) -> Schema:
        return {"type": "null"}


class PrivateObject:
    """An object that is sealed: any names, any JSON values."""

    __slots__ = ()

    def check(self, value: Any) -> None:
        if type(value) is not dict:
            refuse_type(value, "an object")

    def json_schema(self) -> Schema:
        return {"type": "object"}
