"""The query language of lists: the table of its specification, its limits, and what it never does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.selectors import query as grammar
from ledger.selectors.query import KEYS, LedgerQuery, QueryError, Term, instant, parse, positions

pytestmark = pytest.mark.unit
NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


def spans(query: LedgerQuery) -> list[tuple[str, tuple[str, ...], bool, int, int]]:
    return [(term.key, term.values, term.negated, term.start, term.end) for term in query.terms]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        (
            'zone:uncertain friction:medium,high -kind:ecp.annotation/1 "card refund"',
            [
                ("zone", ("uncertain",), False, 0, 14),
                ("friction", ("medium", "high"), False, 15, 35),
                ("kind", ("ecp.annotation/1",), True, 36, 58),
                ("", ("card refund",), False, 59, 72),
            ],
        ),
        (
            'agent:"trader 7" bypassed:true',
            [("agent", ("trader 7",), False, 0, 16), ("bypassed", ("true",), False, 17, 30)],
        ),
        ("- refund", [("", ("-",), False, 0, 1), ("", ("refund",), False, 2, 8)]),
        ("", []),
        (" \t\u3000", []),
        ("--", [("", ("-",), True, 0, 2)]),
        ("-", [("", ("-",), False, 0, 1)]),
        ('"a, b"', [("", ("a, b",), False, 0, 6)]),
        ('agent:"a, b"', [("agent", ("a, b",), False, 0, 12)]),
        ("agent:a,b", [("agent", ("a", "b"), False, 0, 9)]),
        (r'"say \"no\" \\ \n"', [("", (r'say "no" \ \n',), False, 0, 18)]),
        ('"zone:operator"', [("", ("zone:operator",), False, 0, 15)]),
        ('say"no', [("", ('say"no',), False, 0, 6)]),
        ("12:30", [("", ("12:30",), False, 0, 5)]),
        ("a,b", [("", ("a,b",), False, 0, 3)]),
        ("-zone:a -zone:b zone:c", [("zone", ("a",), True, 0, 7), ("zone", ("b",), True, 8, 15),
                                    ("zone", ("c",), False, 16, 22)]),
        ("zone:no-such-zone agent:nobody", [("zone", ("no-such-zone",), False, 0, 17),
                                            ("agent", ("nobody",), False, 18, 30)]),
    ],
)  # fmt: skip
def test_text_is_read_as_the_specification_says(
    text: str, terms: list[tuple[str, tuple[str, ...], bool, int, int]]
) -> None:
    assert spans(parse(text)) == terms


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("colour:red", ("unknown_key", 0, 10)),
        ("Agent:red", ("unknown_key", 0, 9)),
        ("refund https://x.example/", ("unknown_key", 7, 25)),
        ("zone:", ("empty_value", 0, 5)),
        ('refund zone:""', ("empty_value", 7, 14)),
        ("zone:a,,b", ("empty_value", 0, 9)),
        ("zone:a,", ("empty_value", 0, 7)),
        ('""', ("empty_value", 0, 2)),
        ("zone:operator zone:uncertain", ("repeated_key", 14, 28)),
        ('refund "late', ("unclosed_quote", 7, 12)),
        ('agent:"late bot', ("unclosed_quote", 0, 15)),
        (r'"late\"', ("unclosed_quote", 0, 7)),
        ('"card"refund x', ("bad_value", 0, 12)),
        ("friction:critical", ("bad_value", 0, 17)),
        ("bypassed:yes", ("bad_value", 0, 12)),
        ("bypassed:true,false", ("bad_value", 0, 19)),
        ("has:nothing", ("bad_value", 0, 11)),
        ("seq:x", ("bad_value", 0, 5)),
        ("seq:..", ("bad_value", 0, 6)),
        ("seq:9..5", ("bad_value", 0, 8)),
        ("seq:1099511627776", ("bad_value", 0, 17)),
        ("seq:\u0663", ("bad_value", 0, 5)),
        ("since:yesterday", ("bad_value", 0, 15)),
        ("since:2026-02-30", ("bad_value", 0, 16)),
        ("since:2026-03-31T12:00", ("bad_value", 0, 22)),
        ("since:0001-01-01T00:00:00+02:00", ("bad_value", 0, 31)),
        ("until:now-0d", ("bad_value", 0, 12)),
        ("until:now-10000d", ("bad_value", 0, 16)),
        ("a\0b", ("bad_value", 0, 3)),
        ("a" * 513, ("query_too_long", 512, 513)),
        ("a " * 20 + "b c", ("too_many_terms", 40, 43)),
    ],
)
def test_wrong_text_is_refused_with_its_place(text: str, error: tuple[str, int, int]) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.start, caught.value.end) == error
    assert caught.value.status == 400


def test_longest_text_and_most_terms_are_taken() -> None:
    assert len(parse("a" * 512).terms) == 1
    assert len(parse("a " * 20).terms) == 20


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("7", (7, 8)),
        ("5..9", (5, 10)),
        ("5..", (5, 2**40)),
        ("..9", (0, 10)),
        ("007", (7, 8)),
        ("3..3", (3, 4)),
    ],
)
def test_positions_of_a_range_include_both_ends(value: str, found: tuple[int, int]) -> None:
    assert parse(f"seq:{value}").values("seq") == (value,)
    assert positions(value) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("2026-03-31", datetime(2026, 3, 31, tzinfo=UTC)),
        ("2026-03-31T12:00:00Z", NOW),
        ("2026-03-31t14:00:00.5+02:00", NOW + timedelta(milliseconds=500)),
        ("now", NOW),
        ("now-90m", NOW - timedelta(minutes=90)),
        ("now-1h", NOW - timedelta(hours=1)),
        ("now-7d", NOW - timedelta(days=7)),
        ("now-9999w", NOW - timedelta(weeks=9999)),
    ],
)
def test_times_are_in_utc(value: str, found: datetime) -> None:
    assert parse(f"since:{value}").values("since") == (value,)
    assert instant(value, NOW) == found


def test_term_can_be_dropped_added_and_replaced() -> None:
    query = parse("lamp zone:operator -agent:bot")
    assert str(query.without(query.terms[1])) == "lamp -agent:bot"
    assert str(query.with_values("zone", ["uncertain"])) == "lamp zone:uncertain -agent:bot"
    assert str(query.with_values("zone", [])) == "lamp -agent:bot"
    assert str(query.with_values("agent", ["a b"])) == 'lamp zone:operator -agent:bot agent:"a b"'


def test_words_mean_nothing_but_themselves_to_the_database() -> None:
    assert parse('lamp or -carpet "sells slowly" zone:operator').words() == (
        '"lamp" "or" -"carpet" "sells slowly"'
    )
    assert parse('say"no').words() == '"say no"'


PIECES = st.sampled_from(
    ["-", "--", '"', '\\"', "\\\\", "\\", ":", ",", "..", " ", "\t", "now-7d", "2026-03-31", "true", "high",
     "note", "5", "a", "é", "\u202e", *(f"{key}:" for key in KEYS)]
)  # fmt: skip


@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=14).map("".join)))
@example('agent:-"x" --"y" "-z"')
@example('-"-" "-"')
@example('agent:a\\"b')
def test_printed_form_is_read_as_the_same_and_nothing_else_is_raised(text: str) -> None:
    error: QueryError | None = None
    try:
        query = parse(text)
    except QueryError as caught:
        query, error = LedgerQuery(), caught
    if error is not None:
        assert 0 <= error.start <= error.end <= len(text)
    assert parse(str(query)) == query
    assert str(parse(str(query))) == str(query)
    assert all(text[term.start : term.end].strip() for term in query.terms)


VALUES = st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text)
TERMS = st.builds(
    lambda key, value, negated: Term(key, (value,), negated),
    st.sampled_from(["", *grammar.LIST_KEYS[:5]]),
    VALUES,
    st.booleans(),
)


@given(st.lists(TERMS, max_size=4))
def test_every_term_can_be_written(terms: list[Term]) -> None:
    plain = [term.key for term in terms if term.key and not term.negated]
    if len(plain) == len(set(plain)) and len(str(LedgerQuery(tuple(terms)))) <= grammar.MAX_Q:
        assert parse(str(LedgerQuery(tuple(terms)))).terms == tuple(terms)
