"""Queries are strict, cursors belong to one list (SECURITY section 5.3)."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.signing import Signer
from hypothesis import given
from hypothesis import strategies as st

from ecp_project.api.pagination import MAX_TARGET, CursorSeal, check_target, declared_parameters, page_size
from ecp_project.kernel.errors import BadRequest, EcpError, UriTooLong

pytestmark = pytest.mark.unit

DECLARED = ("agent", "q", "cursor", "page_size")
FILTERS = {"agent": "pricing-bot", "page_size": "10"}
SEAL = CursorSeal("decision-list", 1, FILTERS)


def read(query: str) -> dict[str, str]:
    return declared_parameters({"QUERY_STRING": query}, DECLARED)


def test_declared_parameters_are_read_decoded() -> None:
    assert read("agent=a%20b&q=%C3%A9+x&cursor=") == {"agent": "a b", "q": "é x", "cursor": ""}
    assert read("") == {}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("color=red", "unknown_key"),
        ("agent=a&agent=b", "bad_value"),
        ("agent=a&agent=a", "bad_value"),
        ("agent__contains=a", "unknown_key"),
        ("Agent=a", "unknown_key"),
        ("q=%00", "bad_value"),
        ("q=%ff", "bad_value"),
        ("q=%1b[31m", "bad_value"),
        ("cursor=%00%ff", "invalid_cursor"),
        ("&".join(f"q{n}=1" for n in range(65)), "bad_value"),
    ],
)
def test_other_queries_are_refused(query: str, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(query)
    assert caught.value.code == code


def test_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(BadRequest) as caught:
        read("api_key=canary")
    assert "canary" not in caught.value.detail
    assert "api_key" not in caught.value.detail


def test_target_below_4_kib_passes() -> None:
    check_target({"PATH_INFO": "/x", "QUERY_STRING": "q" * (MAX_TARGET - 3)})
    with pytest.raises(UriTooLong):
        check_target({"PATH_INFO": "/x", "QUERY_STRING": "q" * (MAX_TARGET - 2)})


@pytest.mark.parametrize(("text", "size"), [(None, 50), ("1", 1), ("200", 200)])
def test_page_size(text: str | None, size: int) -> None:
    assert page_size({} if text is None else {"page_size": text}) == size


@pytest.mark.parametrize("text", ["0", "201", "-1", "1e2", " 5", "٣", "5.0", "", "9999999999999999999999"])
def test_page_size_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        page_size({"page_size": text})
    assert caught.value.code == "bad_value"


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_cursor_brings_its_position_back(position: int) -> None:
    assert SEAL.read(SEAL.write(position)) == position


def test_no_cursor_is_the_first_page() -> None:
    assert SEAL.read(None) is None


def test_page_size_may_change_between_pages() -> None:
    assert CursorSeal("decision-list", 1, FILTERS | {"page_size": "99"}).read(SEAL.write(5)) == 5


@pytest.mark.parametrize(
    "other",
    [
        CursorSeal("agent-list", 1, FILTERS),
        CursorSeal("decision-list", 2, FILTERS),
        CursorSeal("decision-list", None, FILTERS),
        CursorSeal("decision-list", 1, {}),
        CursorSeal("decision-list", 1, {"agent": "other-bot"}),
    ],
)
def test_cursor_of_another_list_organisation_or_filter_is_refused(other: CursorSeal) -> None:
    with pytest.raises(BadRequest) as caught:
        other.read(SEAL.write(5))
    assert caught.value.code == "invalid_cursor"


@given(st.text(max_size=600))
def test_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(EcpError) as caught:
        SEAL.read(text)
    assert caught.value.code == "invalid_cursor"


def test_changed_cursor_is_refused_at_every_character() -> None:
    cursor = SEAL.write(123456)
    for place, letter in enumerate(cursor):
        changed = cursor[:place] + ("A" if letter != "A" else "B") + cursor[place + 1 :]
        if changed.rstrip("=") == cursor:
            continue
        with pytest.raises(BadRequest):
            SEAL.read(changed)


def test_signed_value_that_is_no_position_is_refused() -> None:
    signer: Any = SEAL._signer()
    for value in ("5", None, [5], True):
        with pytest.raises(BadRequest):
            SEAL.read(signer.sign_object(value))


def test_cursor_survives_a_change_of_the_secret_key(settings: Any) -> None:
    cursor = SEAL.write(5)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key " * 6
    assert SEAL.read(cursor) == 5
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(BadRequest):
        SEAL.read(cursor)


def test_salt_keeps_other_signatures_out() -> None:
    with pytest.raises(BadRequest):
        SEAL.read(Signer(salt="other", sep=".").sign_object(5))
