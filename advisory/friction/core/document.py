"""A rule file as plain data: nothing of the YAML is reinterpreted, each value has its place (FRICTION 2.8).

PyYAML's parser gives events; this module builds the values itself, because a rule file must be refused with
line and column for everything that YAML 1.1 would quietly change: a number with a point, a date, `12:30`,
`yes`. What is refused becomes `REFUSED` in the tree, so that the rest of the file is still judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from ecp_project.kernel.canonical import MAX_SAFE_INTEGER

if TYPE_CHECKING:
    from yaml.error import Mark
    from yaml.events import Event

MAX_BYTES = 262_144
MAX_NESTING = 64
_NAMELESS = "?"  # the step of a path whose name was refused

Path = tuple[str | int, ...]
Place = tuple[int, int]


class _Refused:
    """Stands for a value that was refused already; nothing further is said about it."""

    def __repr__(self) -> str:
        return "REFUSED"


REFUSED: Final = _Refused()


@dataclass(frozen=True, slots=True)
class RuleProblem:
    """One fault of a rule file, with its place; lines and columns count from 1."""

    code: str
    message: str
    line: int
    column: int
    path: str
    rule: str | None = None

    def document(self) -> dict[str, Any]:
        members: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "line": self.line,
            "column": self.column,
            "path": self.path,
        }
        return members | ({"rule": self.rule} if self.rule is not None else {})


class _Noted(NamedTuple):
    code: str
    message: str
    place: Place
    path: Path


@dataclass(slots=True)
class Document:
    """The value of a file, the place of each of its parts and what is wrong with it so far."""

    value: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    blurred: set[Path] = field(default_factory=set)  # mappings of which some name was refused
    noted: list[_Noted] = field(default_factory=list)

    def place(self, path: Path) -> Place:
        """Where a part stands; a part that is not there stands where its parent does."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))

    def refuse(self, code: str, message: str, path: Path, place: Place | None = None) -> None:
        self.noted.append(_Noted(code, message, place or self.place(path), path))

    def problems(self, most: int) -> list[RuleProblem]:
        """What was noted, sorted by line, each with the id of the rule in which it stands."""
        found = sorted(self.noted, key=lambda noted: noted.place[0])[:most]
        return [
            RuleProblem(
                noted.code, noted.message, *noted.place, dotted(noted.path), self._rule_at(noted.path)
            )
            for noted in found
        ]

    def _rule_at(self, path: Path) -> str | None:
        if len(path) < 2 or path[0] != "rules" or type(self.value) is not dict:  # noqa: PLR2004 - rules, index
            return None
        rules, index = self.value.get("rules"), path[1]
        if type(rules) is not list or type(index) is not int or index >= len(rules):
            return None
        rule = rules[index]
        name = rule.get("id") if type(rule) is dict else None
        return name if type(name) is str else None


def dotted(path: Path) -> str:
    """`rules[0].when.all[1].value`."""
    text = ""
    for step in path:
        text += f"[{step}]" if type(step) is int else f".{step}" if text else str(step)
    return text


def read_document(source: str | bytes) -> Document:
    """Read a whole file. Whatever the bytes are, the answer is a document, perhaps with problems."""
    document = Document()
    raw = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    if len(raw) > MAX_BYTES:
        document.refuse("too_large", f"{len(raw):,} bytes, at most {MAX_BYTES:,} are allowed", ())
        return document
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        document.refuse("yaml_syntax", "not UTF-8", (), (raw.count(b"\n", 0, error.start) + 1, 1))
        return document
    builder = _Builder(document)
    try:
        document.value = builder.read(text)
    except yaml.MarkedYAMLError as error:
        document.refuse("yaml_syntax", error.problem or "not YAML", (), _place(error.problem_mark))
    except yaml.reader.ReaderError as error:
        document.refuse(
            "yaml_syntax", "a control character", (), (text.count("\n", 0, error.position) + 1, 1)
        )
    except (ValueError, OverflowError):  # an escape such as "\U00110000" names no character
        document.refuse("yaml_syntax", "no such character", (), (builder.line, 1))
    except (_TooDeepError, RecursionError):
        document.refuse("too_deep", f"more than {MAX_NESTING} levels", (), (builder.line, 1))
    return document


class _TooDeepError(Exception):
    """The file nests beyond anything that a rule file could mean."""


def _place(mark: Mark | None) -> Place:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


class _Builder:
    """Turns the events of one file into plain values."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.line = 1

    def read(self, text: str) -> Any:
        self.loader = yaml.SafeLoader(text)
        self._next()  # the start of the stream
        event = self._next()
        if isinstance(event, StreamEndEvent):
            self.document.refuse("value_invalid", "the file is empty", ())
            return REFUSED
        value = self._value(self._next(), ())
        self._next()  # the end of the document
        event = self._next()
        if not isinstance(event, StreamEndEvent):
            self._refuse("yaml_multiple_documents", "only one document is allowed", event, ())
            return REFUSED
        return value

    def _next(self) -> Event:
        event: Any = self.loader.get_event()  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        self.line = event.end_mark.line + 1
        return event  # type: ignore[no-any-return]  # the stubs leave it untyped

    def _refuse(self, code: str, message: str, event: Any, path: Path) -> None:
        self.document.refuse(code, message, path, _place(event.start_mark))

    def _value(self, event: Any, path: Path) -> Any:
        if len(path) > MAX_NESTING:
            raise _TooDeepError
        self.document.places[path] = _place(event.start_mark)
        if isinstance(event, AliasEvent):
            self._refuse("yaml_alias", "aliases are not allowed: write the value out", event, path)
            return REFUSED
        if event.anchor is not None:
            self._refuse("yaml_alias", "anchors are not allowed", event, path)
        if event.tag is not None:
            self._refuse("yaml_tag", f"the tag {event.tag} is not allowed", event, path)
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event, path)

    def _mapping(self, path: Path) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            name = self._name(event, path)
            at = (*path, name if name is not None else _NAMELESS)
            place = self.document.places.get(at)
            value = self._value(self._next(), at)
            if name is None:
                self.document.blurred.add(path)
            elif name in members:
                self._refuse("yaml_duplicate_key", f"{name} is written twice", event, at)
                assert place is not None
                self.document.places[at] = place
            else:
                members[name] = value
        return members

    def _name(self, event: Any, path: Path) -> str | None:
        if isinstance(event, ScalarEvent) and event.anchor is None and event.tag is None:
            name = event.value if event.style else _plain(event.value)
            if type(name) is str:
                return name
        if len(path) > MAX_NESTING:
            raise _TooDeepError
        if isinstance(event, AliasEvent) or event.anchor is not None:
            self._refuse("yaml_alias", "anchors and aliases are not allowed", event, path)
        elif event.tag is not None:
            self._refuse("yaml_tag", f"the tag {event.tag} is not allowed", event, path)
        else:
            self._refuse("yaml_key_type", "a name must be plain text; put it in quotes", event, path)
        if isinstance(event, MappingStartEvent):
            self._mapping((*path, _NAMELESS))
        elif isinstance(event, SequenceStartEvent):
            self._sequence((*path, _NAMELESS))
        return None

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _scalar(self, event: ScalarEvent, path: Path) -> Any:
        if event.style or event.tag is not None:
            value: Any = event.value
        else:
            value = _plain(event.value)
            if value is REFUSED:
                message = f"{event.value} has no fixed meaning in YAML: put it in quotes"
                self._refuse("yaml_value_type", message, event, path)
        if type(value) is str and _find_unsayable(value):
            self._refuse("value_invalid", "a control character or half of a surrogate pair", event, path)
            return REFUSED
        if type(value) is int and abs(value) > MAX_SAFE_INTEGER:
            self._refuse("yaml_value_type", "an integer beyond 2^53-1", event, path)
            return REFUSED
        return value


_find_unsayable = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f\\ud800-\\udfff]").search
_is_integer = re.compile(r"-?(?:0|[1-9][0-9]*)").fullmatch
_MAX_DIGITS = 20  # more is out of range anyway, and Python refuses to convert thousands of digits

# What YAML 1.1 reads as something other than text, and what looks so much like it that its author must say.
_is_ambiguous = re.compile(
    r"[-+.]?[0-9][0-9_,.:]*(?:[eE][-+]?[0-9]*)?|[-+]?0[xob][0-9a-fA-F_]+"
    r"|[-+]?\.(?:inf|nan)|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?"
    r"|yes|no|on|off|true|false|null|=|<<",
    re.IGNORECASE | re.DOTALL,
).fullmatch


def _plain(text: str) -> Any:
    """The meaning of an unquoted scalar; REFUSED if it has none that everybody shares."""
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _is_integer(text):
        return int(text) if len(text) <= _MAX_DIGITS else REFUSED
    return REFUSED if _is_ambiguous(text) else text
