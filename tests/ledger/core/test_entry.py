"""Entries: spliced bytes are canonical; what is not exactly an entry is refused (LEDGER section 7)."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecp_project.kernel.canonical import encode
from ledger.core import entry as entry_module
from ledger.core.entry import Entry, EntrySyntax, genesis, parse_entry, read_statement, splice
from tests.ledger.core.sample_log import ORIGIN, decision, sample_log
from tests.shared import shared_path

pytestmark = pytest.mark.unit

SIGNED, PLAIN, LATE = (sample_log(4, signed=[1]).entries[number] for number in (1, 2, 3))

names = st.from_regex(r"[a-z0-9_]{1,12}", fullmatch=True)
# Other classes than these cannot stand in a stored statement.
texts = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), max_size=30)
integers = st.integers(-(2**53) + 1, 2**53 - 1)
values = st.recursive(
    st.none() | st.booleans() | integers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
statements = st.dictionaries(names, values, max_size=6).map(lambda extra: {**extra, **decision(1)})


@pytest.fixture(params=["orjson", "standard library"])
def either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "standard library":
        monkeypatch.setattr(entry_module, "orjson", None)


def spliced(stmt: dict[str, Any], **members: Any) -> bytes:
    defaults = {
        "origin": ORIGIN,
        "prev": genesis(ORIGIN),
        "rcvd": "2026-03-02T09:00:00.000000Z",
        "seq": 0,
        "sigs": b"[]",
    }
    return splice(**{**defaults, "stmt": encode(stmt), **members})


@given(statements, st.booleans(), st.integers(0, 2**53 - 1))
def test_splice_equals_the_full_canonical_encoding(stmt: dict[str, Any], late: bool, seq: int) -> None:  # noqa: FBT001 - drawn by hypothesis
    rcvd = "2026-03-02T09:00:00.000000Z"
    raw = spliced(stmt, seq=seq, spooled_at=rcvd if late else None)
    whole = {
        "log": ORIGIN,
        "prev": genesis(ORIGIN).hex(),
        "rcvd": rcvd,
        "seq": seq,
        "sigs": [],
        "stmt": stmt,
        "v": "ecp.entry/1",
        **({"late": True, "spooled_at": rcvd} if late else {}),
    }
    assert raw == encode(whole)


@given(statements)
def test_spliced_entry_parses_to_what_went_in(stmt: dict[str, Any]) -> None:
    parsed = parse_entry(spliced(stmt, seq=3))
    assert (parsed.stmt, parsed.stmt_raw) == (stmt, encode(stmt))
    assert (parsed.log, parsed.prev, parsed.seq, parsed.late) == (ORIGIN, genesis(ORIGIN), 3, False)


def test_signatures_and_lateness_are_read() -> None:
    (signature,) = parse_entry(SIGNED).sigs
    assert (signature.alg, len(signature.kid), len(signature.sig)) == ("ed25519", 22, 64)
    assert parse_entry(PLAIN).sigs == ()
    late = parse_entry(LATE)
    assert (late.late, late.spooled_at) == (True, late.rcvd)


def test_entry_beyond_65535_bytes_is_our_own_fault() -> None:
    with pytest.raises(AssertionError):
        spliced(decision(1, explanation="x" * 66_000))


MUTATIONS = {
    "float seq": (b'"seq":1,', b'"seq":1.0,'),
    "leading zero": (b'"seq":1,', b'"seq":01,'),
    "negative seq": (b'"seq":1,', b'"seq":-1,'),
    "seq beyond 2^53": (b'"seq":1,', b'"seq":9007199254740992,'),
    "white space": (b'"seq":1,', b'"seq": 1,'),
    "upper-case hex": (b'"prev":"', b'"prev":"A'),
    "no such month": (b'"rcvd":"2026-03', b'"rcvd":"2026-23'),
    "extra member": (b'"v":"ecp.entry/1"}', b'"v":"ecp.entry/1","w":1}'),
    "trailing bytes": (b'"v":"ecp.entry/1"}', b'"v":"ecp.entry/1"}\n'),
    "other version": (b"ecp.entry/1", b"ecp.entry/2"),
    "unknown alg": (b'"alg":"ed25519"', b'"alg":"ed25518"'),
    "spare bits": (b'"}],"stmt"', b'B"}],"stmt"'),
    "late alone": (b'{"log"', b'{"late":true,"log"'),
    "escaped letter": (b'"org"', b'"\\u006frg"'),
    "duplicate name": (b'"org":"sample"', b'"org":"sample","org":"sample"'),
    "other order": (b'"org":"sample","risk":"low"', b'"risk":"low","org":"sample"'),
    "float": (b'"risk":"low"', b'"risk":7.0'),
    "exponent": (b'"risk":"low"', b'"risk":1e3'),
    "minus zero": (b'"risk":"low"', b'"risk":-0'),
    "big integer": (b'"risk":"low"', b'"risk":9007199254740992'),
    "huge integer": (b'"risk":"low"', b'"risk":' + b"9" * 400),
    "small integer": (b'"risk":"low"', b'"risk":-9007199254740992'),
    "NaN": (b'"risk":"low"', b'"risk":NaN'),
    "infinity": (b'"risk":"low"', b'"risk":-Infinity'),
    "bad name": (b'"risk":', b'"riSk":'),
    "float in a list": (b'"risk":"low"', b'"risk":[1,[2.5]]'),
    "bad name inside": (b'"risk":"low"', b'"risk":{"A":1}'),
    "control character": (b'"risk":"low"', b'"risk":"\\u0001"'),
    "DEL": (b'"risk":"low"', b'"risk":"\x7f"'),
    "C1 control": (b'"risk":"low"', b'"risk":"\xc2\x85"'),
    "noncharacter": (b'"risk":"low"', b'"risk":"\xef\xbf\xbe"'),
    "astral noncharacter": (b'"risk":"low"', b'"risk":"\xf0\x9f\xbf\xbf"'),
    "lone surrogate": (b'"risk":"low"', b'"risk":"\\ud800"'),
    "not UTF-8": (b'"risk":"low"', b'"risk":"\xff"'),
    "too deep": (b'"risk":"low"', b'"risk":' + b"[" * 16 + b"]" * 16),
    "far too deep": (b'"risk":"low"', b'"risk":' + b"[" * 5000 + b"]" * 5000),
    "no id": (b'"id":"019b', b'"id":"x19b'),
    "id not a text": (b'"id":"019b0a2c-4e00-7000-8000-000000000001"', b'"id":1'),
    "no v": (b',"v":"ecp.decision/1"}', b"}"),
    "not an object": (b'"stmt":{', b'"stmt":[{'),
    "nothing": (b'"stmt":{', b'"stmt":'),
}


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize("name", MUTATIONS)
def test_bytes_that_are_not_exactly_an_entry_are_refused(name: str) -> None:
    old, new = MUTATIONS[name]
    assert old in SIGNED
    with pytest.raises(EntrySyntax):
        parse_entry(SIGNED.replace(old, new))


@pytest.mark.usefixtures("either_parser")
def test_entry_too_long_is_refused() -> None:
    with pytest.raises(EntrySyntax):
        parse_entry(PLAIN.replace(b'"risk":"low"', b'"risk":"' + b"x" * 66_000 + b'"'))
    with pytest.raises(EntrySyntax):
        parse_entry(PLAIN.replace(b'"risk":"low"', b'"risk":"' + b"x" * 50_000 + b'"'))


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    "text", ["cafe\u0301", "a\tb\nc", "\u202eabc", "\u2028", "\ue000", 'a "quoted" \\ text']
)
def test_old_text_is_not_judged_under_a_newer_unicode(text: str) -> None:
    raw = spliced(decision(1, explanation=text))
    assert parse_entry(raw).stmt["explanation"] == text


@pytest.mark.usefixtures("either_parser")
@settings(max_examples=200)
@given(st.binary(max_size=80), st.integers(0, 600))
def test_no_bytes_bring_the_parser_down(noise: bytes, at: int) -> None:
    for raw in (noise, PLAIN[:at] + noise + PLAIN[at + len(noise) :]):
        with suppress(EntrySyntax):
            assert isinstance(parse_entry(raw), Entry)


@pytest.mark.usefixtures("either_parser")
def test_profile_vectors_are_refused_but_for_what_only_acceptance_judges() -> None:
    cases = json.loads(shared_path("vectors/ledger/cases/profile.json").read_text())
    for case in cases:
        raw = base64.b64decode(case["raw_b64"])
        if case.get("code") != "text_not_nfc":
            assert is_profile(raw) == case.get("accept", False), raw


def is_profile(raw: bytes) -> bool:
    """Judge the profile alone: the vectors lack the members that make an object a statement."""
    try:
        read_statement(raw)
    except EntrySyntax as error:
        return str(error) in ("the statement has no id", "the statement lacks v, org or ts")
    return True
