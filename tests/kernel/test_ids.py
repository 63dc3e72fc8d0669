"""UUIDv7: layout, order and ids that several writers derive alike."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp_project.kernel.ids import derived_uuid7, is_uuid7, new_uuid7, uuid7

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 2, 9, 0, 0, 250_999, tzinfo=UTC)


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_time_version_and_variant_are_in_their_places(now_ms: int, rand: bytes) -> None:
    text = uuid7(now_ms=now_ms, rand=rand)
    number = UUID(text)
    assert is_uuid7(text)
    assert (number.int >> 80, number.version, number.variant) == (now_ms, 7, RFC_4122)


def test_published_example_of_rfc_9562() -> None:
    # Appendix A.6: rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F.
    rand = (0xCC3 << 62 | 0x18C4DC0C0C07398F).to_bytes(10, "big")
    assert uuid7(now_ms=1645557742000, rand=rand) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


def test_new_ids_differ_and_carry_the_millisecond() -> None:
    first, second = new_uuid7(NOW), new_uuid7(NOW)
    assert first != second
    assert UUID(first).int >> 80 == UUID(second).int >> 80 == int(NOW.timestamp() * 1000)


def test_the_same_instant_and_seed_give_the_same_id() -> None:
    assert derived_uuid7(NOW, b"log 1") == derived_uuid7(NOW, b"log 1")
    assert derived_uuid7(NOW, b"log 1") != derived_uuid7(NOW, b"log 2")


@pytest.mark.parametrize(
    "text",
    [
        "019B0A2C-4E00-7000-8000-0000000000AA",
        "019b0a2c-4e00-4000-8000-0000000000aa",
        "019b0a2c-4e00-7000-c000-0000000000aa",
        "019b0a2c4e0070008000000000000000aa",
        "019b0a2c-4e00-7000-8000-0000000000aa\n",
    ],
)
def test_another_form_is_no_id(text: str) -> None:
    assert not is_uuid7(text)


def test_wrong_random_part_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        uuid7(now_ms=0, rand=b"short")
