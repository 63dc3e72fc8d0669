"""Properties of the canonical profile over random values, with the library rfc8785 and json as oracles."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from unicodedata import normalize

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecp_project.kernel.canonical import MAX_SAFE_INTEGER, encode, encode_any, parse_document, parse_statement
from ecp_project.kernel.errors import EcpError

pytestmark = pytest.mark.unit

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=12)
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cn", "Cs"))).map(
    lambda text: normalize("NFC", text)
)
integers = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
profile_values = st.recursive(
    st.none() | st.booleans() | integers | texts | st.just("\t\n"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
profile_objects = st.dictionaries(names, profile_values, max_size=6)
any_text = st.text(st.characters(codec="utf-8"))
floats = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.decimals(-1_000_000, 1_000_000, places=2).map(float)
any_values = st.recursive(
    st.none() | st.booleans() | integers | floats | decimals | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)


@given(profile_objects)
def test_profile_bytes_are_those_of_rfc_8785_and_read_back_to_the_same_value(value: dict[str, Any]) -> None:
    raw = encode(value)
    assert raw == rfc8785.dumps(value)
    assert parse_statement(raw) == value
    assert encode(parse_statement(raw)) == raw


@settings(max_examples=500)
@given(any_values)
@example([1e16, 1e-4, 9.999e-5, 0.1, 1e15, 9007199254740993.0, 123456789012345.6])
def test_encode_any_gives_the_bytes_of_the_library(value: Any) -> None:
    assert encode_any(value) == rfc8785.dumps(value)


@given(profile_objects, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_an_accepted_document_encodes_canonically_however_it_was_spelt(
    value: dict[str, Any], indent: Any, ensure_ascii: Any
) -> None:
    spelt = json.dumps(value, indent=indent, ensure_ascii=ensure_ascii).encode()
    assert encode(parse_document(spelt)) == encode(value)


@given(st.dictionaries(any_text, any_values, max_size=4))
def test_private_values_come_through_unchanged(context: dict[str, Any]) -> None:
    spelt = json.dumps({"context": context}).encode()
    if "\\u0000" in json.dumps(context):
        return
    assert encode_any(parse_document(spelt, private=frozenset({"context"}))["context"]) == encode_any(context)


# Fragments that make mostly broken, sometimes good JSON.
fragments = st.lists(
    st.sampled_from(
        [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            '"',
            "\\",
            '\\"',
            '"a"',
            '"b":',
            '"a":1',
            "1",
            "-0",
            "1.5",
            "true",
            " ",
        ]
    ),
    max_size=40,
).map("".join)


class _RepeatError(Exception):
    pass


def _no_repeat(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise _RepeatError
    return dict(pairs)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@settings(max_examples=2_000)
@given(fragments)
def test_the_scan_agrees_with_a_real_parser_on_syntax_depth_and_repeats(text: str) -> None:
    code = None
    with contextlib.suppress(EcpError):
        try:
            parse_document(text.encode(), private=frozenset("ab"))
        except EcpError as error:
            code = error.code
            raise
    try:
        value = json.loads(text, object_pairs_hook=_no_repeat)
    except _RepeatError:
        assert code in ("duplicate_key", "too_deep", "malformed_json")
    except ValueError:
        assert code in ("malformed_json", "too_deep")
    else:
        if _depth(value) > 16:
            assert code == "too_deep"
        else:
            assert code not in ("malformed_json", "too_deep", "duplicate_key")


@given(st.integers(1, 40), st.data())
def test_depth_is_counted_exactly(depth: int, data: st.DataObject) -> None:
    raw = json.dumps(data.draw(texts)).encode()
    for _ in range(depth - 1):
        raw = b"[" + raw + b"]" if data.draw(st.booleans()) else b'{"a":' + raw + b"}"
    raw = b'{"a":' + raw + b"}"
    try:
        parse_document(raw)
    except EcpError as error:
        assert (error.code == "too_deep") == (depth > 16)  # noqa: PT017 - both outcomes are judged
    else:
        assert depth <= 16
