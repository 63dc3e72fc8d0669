"""The canonical profile: vectors, limits in their order, and encoders against RFC 8785."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import time
from typing import Any

import pytest

from ecp_project.kernel import canonical
from ecp_project.kernel.canonical import encode, encode_any, parse_document, parse_statement
from ecp_project.kernel.errors import EcpError
from tests.shared import PROJECT, shared_path

pytestmark = pytest.mark.unit

PRIVATE = frozenset({"context"})


def refusal(raw: bytes, parse: Any = parse_statement, **options: Any) -> EcpError:
    with pytest.raises(EcpError) as caught:
        parse(raw, **options)
    return caught.value


# --- shared vectors


def test_profile_vectors_are_accepted_or_refused_with_their_code_and_pointer() -> None:
    for case in json.loads(shared_path("vectors/ledger/cases/profile.json").read_text()):
        raw = base64.b64decode(case["raw_b64"])
        if case["accept"]:
            assert encode(parse_statement(raw)) == raw
        else:
            error = refusal(raw)
            assert (error.code, error.pointer) == (case["code"], case["pointer"]), raw[:80]


def test_jcs_vectors_have_their_published_bytes() -> None:
    folder = shared_path("vectors/ledger/third_party/jcs")
    for source in sorted((folder / "input").glob("*.json")):
        expected = (folder / "output" / source.name).read_bytes()
        assert encode_any(json.loads(source.read_text("utf-8"))) == expected, source.name
        as_hex = (folder / "outhex" / source.with_suffix(".txt").name).read_text()
        assert expected == bytes.fromhex(as_hex), source.name


def test_security_vectors_of_json_get_their_reason() -> None:
    minimum = '"agent":"a1","action":"x"'
    judged = 0
    for line in shared_path("vectors/security/cases.jsonl").read_text("utf-8").splitlines():
        case = json.loads(line)
        if not case["class"].startswith(("json_", "text_")) or case["class"] == "json_type":
            continue
        body = base64.b64decode(case["body_b64"]) if "body_b64" in case else case["body"].encode()
        body = body.replace(b"{{MIN}}", minimum.encode())
        judged += 1
        if 201 in case["status"]:
            parse_document(body, private=PRIVATE)
        else:
            assert refusal(body, parse_document, private=PRIVATE).reason == case["reason"], case["id"]
    assert judged >= 25


# --- statements


@pytest.mark.parametrize(
    ("raw", "code", "pointer"),
    [
        (b"", "malformed_json", ""),
        (b" {}", "not_canonical", ""),
        (b"{}\n", "not_canonical", ""),
        (b'{"a":Infinity}', "malformed_json", ""),
        (b'{"a":01}', "malformed_json", ""),
        (b'{"a":"\x01"}', "malformed_json", ""),
        (b'{"a":"\\ud83d\\ude00"}', "not_canonical", ""),
        (b'{"a":{"b":[0,1,{"c":1.5}]}}', "number_not_integer", "/a/b/2/c"),
        (b'{"a":-9007199254740992}', "integer_out_of_range", "/a"),
        (b'{"a":' + b"9" * 5000 + b"}", "integer_out_of_range", "/a"),
        (b'{"a":1.5,"b":2.5}', "number_not_integer", "/a"),
        (b'{"":1}', "bad_key", "/"),
        (b'{"a~/b":1}', "bad_key", "/a~0~1b"),
        (b'{"' + b"a" * 65 + b'":1}', "bad_key", "/" + "a" * 65),
        (b'{"a":"\x7f"}', "bad_text", "/a"),
        ('{"a":"\u0085"}'.encode(), "bad_text", "/a"),
        ('{"a":"\ufdd0"}'.encode(), "bad_text", "/a"),
        ('{"a":"\U0010ffff"}'.encode(), "bad_text", "/a"),
        (b'{"a":"\\u000d"}', "bad_text", "/a"),
        (b'{"a":"\xed\xa0\x80"}', "malformed_json", ""),
    ],
)
def test_bytes_outside_the_profile_are_refused(raw: bytes, code: str, pointer: str) -> None:
    error = refusal(raw)
    assert (error.code, error.pointer) == (code, pointer)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'\xef\xbb\xbf{"a":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}', "malformed_json"),
        (b'{"a":[[[[[[[[[[[[[[[[[1.0,', "too_deep"),
        (b'{"a":1.0,"a":1,', "malformed_json"),
        (b'{"b":1.0,"B":1,"b":2}', "duplicate_key"),
        (b'[{"a":1.5}]', "wrong_type"),
        (b'{"B":1.5,"a":"\\u0000"}', "number_not_integer"),
        (b'{"a":"\\u0000","B":1}', "bad_key"),
        (b'{"b":"\\u0000","a":1}', "bad_text"),
    ],
)
def test_the_first_check_of_the_table_wins(raw: bytes, code: str) -> None:
    assert refusal(raw).code == code


def test_depth_sixteen_passes_and_seventeen_does_not() -> None:
    def nested(lists: int) -> bytes:
        return b'{"a":' + b"[" * lists + b"]" * lists + b"}"

    assert parse_statement(nested(15))
    assert refusal(nested(16)).code == "too_deep"
    assert parse_statement(nested(16), max_depth=17)


def test_brackets_in_strings_are_no_depth_whatever_their_escapes() -> None:
    for text in ("[" * 40, '"' + "[" * 40, "\\", '\\"[[[[[[[[[[[[[[[[[[[[', "[{" * 20 + "\\\\"):
        raw = encode({"a": text})
        assert parse_statement(raw) == {"a": text}


def test_size_counts_before_anything_else() -> None:
    assert refusal(b"\xff" * 49_153).code == "too_large"
    assert refusal(b"\xff" * 49_153).status == 413
    assert parse_statement(encode({"a": "x" * 49_144}))


def test_a_pointer_to_an_unusable_name_is_cut_and_cleaned() -> None:
    error = refusal(b'{"\\ud800' + b"x" * 500 + b'":1}')
    assert error.pointer is not None
    assert error.pointer.startswith("/\ufffdxxx")
    assert len(error.pointer) < 100


# --- documents


def test_white_space_order_and_escapes_are_free_in_a_document() -> None:
    raw = b' {\n"b" : "\\u00e9\\/", "a":\t[ 1 ]\r\n} '
    assert parse_document(raw) == {"b": "\u00e9/", "a": [1]}


def test_private_members_may_hold_floats_any_names_and_text_outside_nfc() -> None:
    context = {"Amount Due": 1.5, "e\u0301": "e\u0301", "x": [1e300, -0.0, {"\r": "\x01"}]}
    raw = json.dumps({"context": context}).encode()
    assert parse_document(raw, private=PRIVATE) == {"context": context}
    assert parse_document(b'{"context":{"a":-0}}', private=PRIVATE) == {"context": {"a": 0}}


def test_privacy_holds_at_the_top_level_only() -> None:
    assert refusal(b'{"a":{"context":{"B":1}}}', parse_document, private=PRIVATE).code == "bad_key"


@pytest.mark.parametrize(
    ("member", "code", "reason", "pointer"),
    [
        ('{"n":1e999}', "integer_out_of_range", "number", "/context/n"),
        ('{"n":[1,-1e999]}', "integer_out_of_range", "number", "/context/n/1"),
        ('{"n":9007199254740992}', "integer_out_of_range", "number", "/context/n"),
        ('{"n":NaN}', "malformed_json", "number", ""),
        ('{"n":1,"n":1}', "duplicate_key", "duplicate_key", "/context/n"),
        ('{"n":1,"\\u006e":1}', "duplicate_key", "duplicate_key", "/context/n"),
        ('{"n":"\\u0000"}', "bad_text", "character", "/context/n"),
        ('{"n":"\\ud800"}', "bad_text", "character", "/context/n"),
        ('{"\\udc00":1}', "bad_text", "character", "/context/\ufffd"),
    ],
)
def test_private_members_keep_the_looser_rules(member: str, code: str, reason: str, pointer: str) -> None:
    error = refusal(f'{{"context":{member}}}'.encode(), parse_document, private=PRIVATE)
    assert (error.code, error.reason, error.pointer) == (code, reason, pointer)


def test_a_document_has_at_most_two_thousand_separators_outside_strings() -> None:
    assert parse_document(b'{"a":[' + b"0," * 1998 + b"0]}")
    assert refusal(b'{"a":[' + b"0," * 2000 + b"0]}", parse_document).code == "too_many_members"
    assert parse_document(b'{"a":"' + b",:" * 2000 + b'"}')


def test_a_public_text_has_at_most_twenty_thousand_characters() -> None:
    error = refusal(b'{"a":"' + b"y" * 20_001 + b'"}', parse_document)
    assert (error.code, error.reason, error.pointer) == ("bad_value", "length", "/a")
    assert parse_document(b'{"a":"' + b"y" * 20_000 + b'"}')
    assert parse_document(b'{"context":"' + b"y" * 20_001 + b'"}', private=PRIVATE)


def test_a_document_that_is_too_long_is_refused_unread() -> None:
    assert refusal(b" " * 65_537, parse_document).code == "too_large"


@pytest.mark.parametrize("parse", [parse_statement, parse_document])
@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b'"' * 100_000,
        b'"\\' * 50_000,
        b"\\" * 100_000,
        b'{"a":"' + b"\\\\" * 50_000,
        b'{"a":"' + b'\\"' * 50_000,
        b'{"a":' + b"9" * 100_000 + b"}",
        b'{"a":1' + b"e" * 100_000 + b"}",
        b'{"a":0.' + b"1" * 100_000 + b"}",
        b" " * 100_000,
        b'{"a":"' + "e\u0301".encode() * 30_000 + b'"}',
        b'{"a":[' + b"0," * 24_000 + b"0]}",
        b"{" + b",".join(b'"k%d":0' % i for i in range(4_500)) + b"}",
    ],
    ids=range(14),
)
def test_pathological_bytes_are_judged_in_linear_time(parse: Any, raw: bytes) -> None:
    best = 1.0
    for _ in range(3):
        started = time.process_time()
        with contextlib.suppress(EcpError):
            parse(raw, max_bytes=200_000)
        best = min(best, time.process_time() - started)
    assert best < 0.5  # coverage and a busy machine slow it tenfold; quadratic work takes seconds


# --- encoders


def test_encode_refuses_what_the_profile_cannot_hold() -> None:
    for value in (1.0, {"a": [7.0]}, (1,), {1: 2}, b"x", {"a": {"b": object()}}, [None, 0.5]):
        with pytest.raises(TypeError):
            encode(value)
    for text_or_number in (2**53, -(2**53), "\ud800", {"a": "\udfff"}):
        with pytest.raises(ValueError, match=r"out of range|surrogate"):
            encode(text_or_number)


def test_encode_any_refuses_what_json_cannot_hold() -> None:
    for value in (float("nan"), {"a": float("inf")}, [2**53]):
        with pytest.raises(ValueError, match=r"JSON has no|out of range"):
            encode_any(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (349.99, b"349.99"),
        (5.0, b"5"),
        (-0.0, b"0"),
        (1e21, b"1e+21"),
        (1e20, b"100000000000000000000"),
        (1e-6, b"0.000001"),
        (1e-7, b"1e-7"),
        ({"\U0001f600": 1, "\ufffd": 2}, '{"\U0001f600":1,"\ufffd":2}'.encode()),
        ({"b": [1e21, {"a": 0.1}]}, b'{"b":[1e+21,{"a":0.1}]}'),
    ],
)
def test_encode_any_writes_rfc_8785(value: Any, expected: bytes) -> None:
    assert encode_any(value) == expected


def test_without_orjson_the_bytes_are_the_same() -> None:
    script = """
import sys
sys.modules["orjson"] = None
import json
from ecp_project.kernel import canonical
assert canonical._dump is canonical._dump_by_standard_library
for line in sys.stdin:
    print(canonical.encode_any(json.loads(line)).hex())
"""
    values = [
        {
            "b": 1,
            "a": [True, None, -5],
            "c": {"z": "", "y": '\u20ac \U0001f600 " \\ / \b\f\n\r\t\x00\x1f\x7f'},
        },
        {"\U0001f600": 1.5, "\ufffd": [1e21, 349.99, 5.0, 1e-7]},
        "plain",
        [],
    ]
    done = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", script],
        input="\n".join(map(json.dumps, values)),
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=True,
    )
    assert [bytes.fromhex(line) for line in done.stdout.split()] == [encode_any(value) for value in values]


def test_remembered_names_are_good_and_bounded() -> None:
    names = canonical._Names()
    assert not names["Bad"]
    assert names["good"]
    for number in range(5_000):
        assert names[f"n{number}"]
    assert len(names) == 4_096
    assert "Bad" not in names
