r"""The query language of the ledger's lists: terms, their printed form, and what is wrong with a text.

Specification: CONSOLE section 4.3. Pure: no database and no clock, so lists, facets, exports and saved views
read the same `q` in the same way.

    query  = term *( 1*WS term )        term = ["-"] ( key ":" value / text )
    value  = bare / quoted              bare = no white space; a comma means OR where the key takes a list
    quoted = DQUOTE *( char / "\" DQUOTE / "\\" ) DQUOTE      a comma inside is literal

Terms are joined by AND. A key stands once without `-`; with `-` it may be repeated. Text that looks like a
key (letters and a colon) is one; in quotes it is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ecp_project.kernel.errors import BadRequest
from ecp_project.kernel.panels import registry

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_Q = 512
MAX_TERMS = 20
MAX_SEQ = 2**40 - 1
LIST_KEYS = ("agent", "organisation", "action", "kind", "zone", "friction")
KEYS = (*LIST_KEYS, "bypassed", "seq", "since", "until", "has")
FRICTION = ("low", "medium", "high")
BYPASSED = ("true", "false")
# Keys of installed apps join these: `known_keys`.
HAS = ("note", "correction", "outcome", "sealed")  # `poll` and `contest` come with their apps: `has_values`

_TERM_START = re.compile(r"\S")
_WORD_END = re.compile(r"\s|\Z")
_KEY = re.compile(r"([A-Za-z_]+):")
_QUOTED = re.compile(r'"((?:\\["\\]|[^"\\]|\\(?!["\\]))*)"')
_SEQ = re.compile(r"([0-9]{1,13})?(\.\.)?([0-9]{1,13})?")
_RELATIVE = re.compile(r"now(?:-([1-9][0-9]{0,3})([mhdw]))?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_ANY = datetime(2000, 1, 1, tzinfo=UTC)  # whether a value is one does not depend on what time it is
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class QueryError(BadRequest):
    """What is wrong with a query, and from where to where in its text."""

    def __init__(self, code: str, detail: str, *, start: int, end: int) -> None:
        super().__init__(code, detail, start=start, end=end)
        self.start = start
        self.end = end


@dataclass(frozen=True, slots=True)
class Term:
    """One condition; `key` is empty for free text. Where it stood takes no part in equality."""

    key: str
    values: tuple[str, ...]
    negated: bool = False
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        sign = "-" if self.negated else ""
        if not self.key:
            return sign + _printed_text(self.values[0], negated=self.negated)
        if len(self.values) > 1:  # such values were written bare
            return f"{sign}{self.key}:{','.join(self.values)}"
        return f"{sign}{self.key}:{_printed_value(self.key, self.values[0])}"


@dataclass(frozen=True, slots=True)
class LedgerQuery:
    """Terms of a list's `q`, all of which must hold; `str()` is the text that parses to the same terms."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def values(self, key: str) -> tuple[str, ...]:
        """Values of the one term of this key without `-`; empty when there is none."""
        return next((term.values for term in self.terms if term.key == key and not term.negated), ())

    def without(self, dropped: Term) -> LedgerQuery:
        return LedgerQuery(tuple(term for term in self.terms if term is not dropped))

    def with_values(self, key: str, values: Sequence[str]) -> LedgerQuery:
        """The same query with these values for a key, in place of those that it has; none drops the term."""
        given = Term(key, tuple(values))
        kept = [given if term.key == key and not term.negated else term for term in self.terms]
        if given not in kept:
            kept.append(given)
        return LedgerQuery(tuple(term for term in kept if term.values))

    def words(self) -> str:
        """Free text for `websearch_to_tsquery`: each term a phrase, in which `or` and `-` mean nothing."""
        return " ".join(
            ("-" if term.negated else "") + '"' + term.values[0].replace('"', " ") + '"'
            for term in self.terms
            if not term.key
        )


def known_keys() -> tuple[str, ...]:
    """Keys of the ledger, and those that installed apps answer for; an absent app's key is unknown."""
    return (*KEYS, *registry.query_keys())


def has_values() -> tuple[str, ...]:
    """What `has:` takes: the ledger's own, and those that installed apps answer for."""
    return (*HAS, *registry.has_values())


def _takes_several(key: str) -> bool:
    return key in LIST_KEYS or key in registry.query_keys()


def parse(text: str) -> LedgerQuery:
    """Raises QueryError, and nothing else, for whatever is no query."""
    if len(text) > MAX_Q:
        detail = f"The query has {len(text)} characters; at most {MAX_Q} are read."
        raise QueryError("query_too_long", detail, start=MAX_Q, end=len(text))
    terms: list[Term] = []
    at = 0
    while found := _TERM_START.search(text, at):
        term = _term(text, found.start())
        if len(terms) == MAX_TERMS:
            detail = f"The query has more than {MAX_TERMS} terms."
            raise QueryError("too_many_terms", detail, start=term.start, end=len(text))
        if term.key and not term.negated and any(t.key == term.key and not t.negated for t in terms):
            detail = f"{term.key} is given twice; several values are joined by a comma."
            raise QueryError("repeated_key", detail, start=term.start, end=term.end)
        terms.append(term)
        at = term.end
    return LedgerQuery(tuple(terms))


def _term(text: str, start: int) -> Term:
    # A dash that stands alone is text: `- refund` looks for both.
    negated = text[start] == "-" and _WORD_END.match(text, start + 1) is None
    at = start + negated
    head = _KEY.match(text, at)
    key = head[1] if head else ""
    value, end, is_quoted = _value(text, start, head.end() if head else at)
    if key and key not in known_keys():
        detail = f"{key} is no key of this search; to find such text, put it in quotation marks."
        raise QueryError("unknown_key", detail, start=start, end=end)
    values = tuple(value.split(",")) if _takes_several(key) and not is_quoted else (value,)
    if not all(values):
        named = f"{key} has a value that is empty" if key else "There is nothing between the quotation marks"
        raise QueryError("empty_value", f"{named}.", start=start, end=end)
    if fault := _fault(key, values):
        raise QueryError("bad_value", fault, start=start, end=end)
    return Term(key, values, negated, start, end)


def _value(text: str, start: int, at: int) -> tuple[str, int, bool]:
    """The value from `at` on, where it ends, and whether it was quoted."""
    if text[at : at + 1] != '"':
        end = _word_end(text, at)
        return text[at:end], end, False
    quoted = _QUOTED.match(text, at)
    if quoted is None:
        detail = "A quotation mark is opened here and never closed."
        raise QueryError("unclosed_quote", detail, start=start, end=len(text))
    if _WORD_END.match(text, quoted.end()) is None:
        detail = "Behind a closing quotation mark comes a blank."
        raise QueryError("bad_value", detail, start=start, end=_word_end(text, quoted.end()))
    return re.sub(r'\\(["\\])', r"\1", quoted[1]), quoted.end(), True


def _word_end(text: str, at: int) -> int:
    found = _WORD_END.search(text, at)
    assert found is not None  # the pattern matches the end of any text
    return found.start()


def _fault(key: str, values: tuple[str, ...]) -> str:
    """What is wrong with the values of a key; empty when nothing is."""
    if any("\0" in value for value in values):
        return "A zero byte is no text."
    choices = {"friction": FRICTION, "bypassed": BYPASSED, "has": has_values()}.get(key)
    if choices is not None and not set(values) <= set(choices):
        return f"{key} is one of: {', '.join(choices)}."
    if key == "seq" and _positions(values[0]) is None:
        return "seq is a position or a range of them: 7, 5..9, 5.. or ..9."
    if key in {"since", "until"} and _instant(values[0], _ANY) is None:
        return f"{key} is a day, an instant or a distance: 2026-03-31, 2026-03-31T12:00:00Z, now or now-7d."
    return ""


def positions(value: str) -> tuple[int, int]:
    """Positions [low, end) of a `seq` value that `parse` has taken."""
    found = _positions(value)
    assert found is not None, value
    return found


def _positions(value: str) -> tuple[int, int] | None:
    found = _SEQ.fullmatch(value)
    if found is None or (found[1] is None and found[3] is None) or (found[3] and not found[2]):
        return None
    low = int(found[1] or 0)
    high = int(found[3]) if found[3] else MAX_SEQ if found[2] else low
    return (low, high + 1) if low <= high <= MAX_SEQ else None


def instant(value: str, now: datetime) -> datetime:
    """The instant of a `since` or `until` value that `parse` has taken, in UTC."""
    found = _instant(value, now)
    assert found is not None, value
    return found


def _instant(value: str, now: datetime) -> datetime | None:
    relative = _RELATIVE.fullmatch(value)
    if relative:
        return now - timedelta(**{_UNITS[relative[2]]: int(relative[1])}) if relative[1] else now
    try:
        if _DATE.fullmatch(value):
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        if _INSTANT.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day; or beyond year 1 or 9999 in UTC
        pass
    return None


def _quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def _printed_value(key: str, value: str) -> str:
    is_split = _takes_several(key) and "," in value
    return _quoted(value) if is_split or value.startswith('"') or re.search(r"\s", value) else value


def _printed_text(value: str, *, negated: bool) -> str:
    is_sign = value.startswith("-") and (len(value) > 1 or negated)
    looks_otherwise = is_sign or value.startswith('"') or _KEY.match(value) or re.search(r"\s", value)
    return _quoted(value) if looks_otherwise else value
