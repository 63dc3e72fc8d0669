"""The draw: the bytes that strangers recompute, and what no draw may do."""

from __future__ import annotations

import math
import time
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisory.polls.core import sampling
from advisory.polls.core.sampling import allocate, draw, make_frame, option_order, srs_is_fair
from ecp_project.kernel.errors import BadRequest, Invalid
from tests.advisory.polls.core.cases import cases

if TYPE_CHECKING:
    import random

pytestmark = pytest.mark.unit

SECRET = bytes(range(32))
INPUT = "drand:quicknet:12345678:1613361b939757e7eda85f0e21bc864decfba70435883c1f341489837d24f4c9"
WORKED = [
    (f"agt_{number:03}", "planner" if number <= 12 else "trader" if number <= 20 else "support")
    for number in range(1, 25)
]


def drawn(rows: list[tuple[str, str]], n: int, poll_id: str = "poll_0001", **others: Any) -> sampling.Draw:
    return draw(
        poll_id=poll_id, frame=make_frame(rows), n=n,
        secret=others.get("secret", SECRET), public_input=others.get("public_input", INPUT),
    )  # fmt: skip


frames = st.lists(
    st.tuples(
        st.text("abcdefgh0123._-", min_size=2, max_size=8), st.sampled_from(["", "eu", "us|big", "ünï"])
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row[0],
)
strata_sizes = st.dictionaries(st.text("ABCäöü\U0001f600\uffee", max_size=3), st.integers(0, 60), min_size=1)


# --- published values


def test_draw_vectors() -> None:
    for case in cases("draws"):
        given_, expected = case["input"], case["expected"]
        found = drawn(
            [tuple(row) for row in given_["frame"]],
            given_["n"],
            given_["poll_id"],
            secret=bytes.fromhex(given_["secret_hex"]),
            public_input=given_["public_input"],
        )
        assert found.frame_hash == expected["frame_hash"]
        assert sampling.commitment(bytes.fromhex(given_["secret_hex"])) == expected["commitment"]
        assert found.seed.hex() == expected["seed"]
        assert list(found.sample) == expected["sample"]
        assert found.sample_hash == expected["sample_hash"]
        strata = {
            one.name: {
                "N": one.size,
                "n": len(one.selected),
                "selected": [place.agent_id for place in one.selected],
                "reserve": [place.agent_id for place in one.reserve[:3]],
                "first_ticket": one.selected[0].ticket,
            }
            for one in found.strata
        }
        assert strata == expected["strata"]


def test_worked_example_of_the_specification() -> None:
    found = drawn(WORKED, 8)
    assert found.frame_hash == "75ec081e07e84e96370f84a3b862bb71739d97d4d33e1de0ef04f5a95516320e"
    assert sampling.commitment(SECRET) == "1a9e3ffd6a22c63c8e97b7b8cfb8f049711d3a8467df7f881ecc9c8b301f7c9c"
    assert found.seed.hex() == "24d376588b4ebd666582e8a70745308ca9bc896f1f6faaff8ad069b016618bd5"
    assert found.sample_hash == "377573b07bfe89f2ccde7a84bbcf863ece251ddc6292ab4b8cf96dee970ed0b1"
    assert {one.name: [place.agent_id[-3:] for place in one.selected] for one in found.strata} == {
        "planner": ["006", "008", "003", "002"],
        "support": ["022"],
        "trader": ["020", "014", "016"],
    }
    order = option_order(seed=found.seed, agent_id="agt_001", options=["support", "oppose", "abstain"])
    assert order == ["abstain", "support", "oppose"]


def test_allocation_vectors() -> None:
    for case in cases("allocation"):
        assert allocate(case["input"]["sizes"], case["input"]["n"]) == case["expected"], case["id"]


def test_option_order_vectors() -> None:
    for case in cases("option_order"):
        given_ = case["input"]
        found = option_order(
            seed=bytes.fromhex(given_["seed"]), agent_id=given_["agent_id"], options=given_["options"]
        )
        assert found == case["expected"], case["id"]


# --- allocation


@pytest.mark.parametrize(
    ("sizes", "n", "expected"),
    [
        ({"A": 100, "B": 60, "C": 15}, 45, (26, 15, 4)),
        ({"A": 997, "B": 2, "C": 1}, 10, (8, 1, 1)),
        ({"A": 3, "B": 3, "C": 3}, 4, (2, 1, 1)),
        ({"A": 10, "B": 0, "C": 5}, 6, (4, 0, 2)),
        ({"A": 3, "B": 3, "C": 3}, 2, (1, 1, 0)),  # fewer than strata: equal claims, the smallest names
        ({"A": 4, "B": 4}, 100, (4, 4)),
        ({"": 7}, 3, (3,)),
        # equal excess after rounding up: the greatest name gives
        ({"A": 1, "B": 1, "C": 6, "D": 6}, 4, (1, 1, 1, 1)),
    ],
)
def test_allocation(sizes: dict[str, int], n: int, expected: tuple[int, ...]) -> None:
    assert tuple(allocate(sizes, n).values()) == expected


@given(strata_sizes, st.integers(1, 200))
def test_allocation_sums_to_n_and_stays_within_each_stratum(sizes: dict[str, int], n: int) -> None:
    found = allocate(sizes, n)
    assert sum(found.values()) == min(n, sum(sizes.values()))
    assert all(0 <= found[name] <= sizes[name] for name in sizes)
    filled = [name for name in sizes if sizes[name]]
    if min(n, sum(sizes.values())) >= len(filled):
        assert all(found[name] for name in filled)


@given(strata_sizes, st.integers(1, 200), st.randoms(use_true_random=False))
def test_allocation_does_not_depend_on_the_order_of_the_strata(
    sizes: dict[str, int], n: int, shuffler: random.Random
) -> None:
    names = list(sizes)
    shuffler.shuffle(names)
    assert allocate({name: sizes[name] for name in names}, n) == allocate(sizes, n)


@given(strata_sizes, st.integers(1, 200))
def test_fair_allocation_keeps_within_one_of_the_quota(sizes: dict[str, int], n: int) -> None:
    total = sum(sizes.values())
    n = min(n, total)
    if total and srs_is_fair(sizes, n) and sum(size > 0 for size in sizes.values()) > 1:
        found = allocate(sizes, n)
        for name, size in sizes.items():
            if size:
                assert found[name] in {
                    math.floor(Fraction(n * size, total)),
                    math.ceil(Fraction(n * size, total)),
                }


@pytest.mark.parametrize(
    ("sizes", "n", "fair"),
    [
        ({"A": 997, "B": 2, "C": 1}, 10, False),
        ({"A": 100, "B": 60, "C": 15}, 45, True),
        ({"": 500}, 3, True),
        ({"A": 10, "B": 0}, 3, True),
        ({"A": 3, "B": 3, "C": 3}, 9, True),
    ],
)
def test_simple_random_sample_over_strata(sizes: dict[str, int], n: int, fair: bool) -> None:  # noqa: FBT001 - a table
    assert srs_is_fair(sizes, n) is fair


# --- properties of a draw


@given(frames, st.integers(1, 50), st.binary(min_size=32, max_size=32))
def test_draw_is_without_replacement_and_exact_in_each_stratum(
    rows: list[tuple[str, str]], n: int, secret: bytes
) -> None:
    found = drawn(rows, n, secret=secret)
    assert len(set(found.sample)) == len(found.sample) == min(n, len(rows))
    assert set(found.sample) <= {agent for agent, _ in rows}
    expected = allocate(make_frame(rows).sizes, n)
    stratum = dict(rows)
    assert Counter(stratum[agent] for agent in found.sample) == Counter(expected)
    for one in found.strata:
        assert one.size == len(one.selected) + len(one.reserve)


@given(frames, st.integers(1, 50), st.randoms(use_true_random=False))
def test_order_of_the_frame_does_not_matter(
    rows: list[tuple[str, str]], n: int, shuffler: random.Random
) -> None:
    shuffled = rows[:]
    shuffler.shuffle(shuffled)
    assert drawn(shuffled, n) == drawn(rows, n)


@given(frames.filter(lambda rows: len(rows) > 1), st.data())
def test_agent_that_leaves_does_not_reshuffle_the_others(rows: list[tuple[str, str]], data: Any) -> None:
    gone = data.draw(st.sampled_from(rows))
    seed = bytes(32)
    rest = [row for row in rows if row != gone]

    def order(of: list[tuple[str, str]]) -> list[str]:
        return [a for _, a in sorted((sampling.ticket(seed, s, a), a) for a, s in of if s == gone[1])]

    assert order(rest) == [agent for agent in order(rows) if agent != gone[0]]


@pytest.mark.parametrize("change", ["poll_id", "secret", "public_input"])
def test_each_ingredient_changes_the_seed(change: str) -> None:
    plain = {"poll_id": "poll_0001", "secret": SECRET, "public_input": INPUT}
    other = {"poll_id": "poll_0002", "secret": bytes(32), "public_input": INPUT + "0"}[change]
    assert drawn(WORKED, 8, **plain | {change: other}).seed != drawn(WORKED, 8, **plain).seed  # type: ignore[arg-type]  # a table


def test_every_agent_is_drawn_about_as_often() -> None:
    """Inclusion over many seeds: |z| < 4 for each of 24 agents."""
    seeds, hits = 3_000, Counter[str]()
    frame = make_frame(WORKED)
    for number in range(seeds):
        secret = number.to_bytes(32, "big")
        hits.update(draw(poll_id="p", frame=frame, n=8, secret=secret, public_input="x").sample)
    given_ = allocate(frame.sizes, 8)
    for agent, stratum in WORKED:
        p = given_[stratum] / frame.sizes[stratum]
        assert abs(hits[agent] - seeds * p) / math.sqrt(seeds * p * (1 - p)) < 4


def test_largest_frame_is_drawn_within_a_second() -> None:
    rows = [(f"agent-{number:05}", f"s{number % 7}") for number in range(sampling.MAX_FRAME)]
    started = time.perf_counter()
    found = drawn(rows, 400)
    assert time.perf_counter() - started < 1
    assert len(found.sample) == 400


@given(st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), min_size=2, max_size=10, unique=True))
def test_option_order_is_a_permutation(options: list[str]) -> None:
    order = option_order(seed=SECRET, agent_id="a", options=options)
    assert sorted(order) == sorted(options)
    assert order == option_order(seed=SECRET, agent_id="a", options=sorted(options))


# --- what is refused


def test_frame_with_an_agent_twice_is_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        make_frame([("a", ""), ("b", ""), ("a", "x")])
    assert caught.value.code == "frame_duplicate"


@pytest.mark.parametrize(("size", "code"), [(0, "frame_empty"), (5_001, "frame_too_large")])
def test_frame_of_a_wrong_size_is_refused(size: int, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        make_frame([(f"a{number}", "") for number in range(size)])
    assert caught.value.code == code


def test_frame_sorts_by_bytes_and_not_by_locale() -> None:
    rows = [("é", ""), ("z", ""), ("A", ""), ("a", "")]
    assert [agent for agent, _ in make_frame(rows).rows] == ["A", "a", "z", "é"]
