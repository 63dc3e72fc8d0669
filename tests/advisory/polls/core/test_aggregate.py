"""Intervals and figures: published values, and coverage found by counting every population."""

from __future__ import annotations

import json
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisory.polls.core import aggregate
from advisory.polls.core.aggregate import Cluster, Quorum, Stratum
from ecp_project.kernel.stats import normal_quantile, wilson
from tests.advisory.polls.core.cases import cases

pytestmark = pytest.mark.unit

ALPHA = Fraction(1, 20)
OWN = json.loads((Path(__file__).parent / "figures.json").read_text())


def parts_of(most: int) -> st.SearchStrategy[tuple[int, int]]:
    """Pairs of a whole and a part of it, which may be nothing."""
    return st.integers(1, most).flatmap(lambda whole: st.tuples(st.just(whole), st.integers(0, whole)))


def near(value: Any) -> Any:
    return pytest.approx(value, abs=1e-6)


# --- one option


def test_interval_vectors() -> None:
    for case in cases("intervals"):
        given_, expected = case["input"], case["expected"]
        k, n, confidence, frame = given_["k"], given_["n"], given_["confidence"], given_.get("N")
        if n == 0:
            assert list(wilson(0, 0, confidence=confidence)) == expected["bounds"]
            continue
        assert k / n == near(expected["share"])
        assert wilson(k / n, n, confidence=confidence) == near(expected["wilson"])
        if frame is None:
            continue
        alpha = 1 - Fraction(str(confidence))
        exact = aggregate.exact_interval(k=k, n=n, frame=frame, alpha=alpha)
        assert [exact.low, exact.high] == expected["hypergeometric_exact_K"], case["id"]
        size = aggregate.effective_size(n, frame)
        assert size == (None if expected["n_eff"] is None else near(expected["n_eff"]))
        found = aggregate.wilson_fpc(k=k, n=n, frame=frame, confidence=confidence)
        assert found == near(expected["wilson_fpc"])


@pytest.mark.parametrize(
    ("k", "n", "frame", "expected"),
    [(31, 50, 120, (61, 86)), (14, 20, 60, (30, 51)), (9, 40, 1000, (111, 381)), (0, 10, 25, (0, 6)),
     (5, 5, 8, (6, 8)), (30, 30, 30, (30, 30)), (99, 99, 100, (100, 100))],
)  # fmt: skip
def test_exact_interval(k: int, n: int, frame: int, expected: tuple[int, int]) -> None:
    found = aggregate.exact_interval(k=k, n=n, frame=frame, alpha=ALPHA)
    assert (found.low, found.high) == expected
    assert found.is_near_census is (expected[0] == expected[1] and n < frame)


def brute_force(k: int, n: int, frame: int, alpha: Fraction) -> tuple[int, int]:
    """Try every population, in fractions."""

    def p(have: int, hits: int) -> Fraction:
        if hits > have or n - hits > frame - have:
            return Fraction(0)
        return Fraction(comb(have, hits) * comb(frame - have, n - hits), comb(frame, n))

    inside = [
        have
        for have in range(frame + 1)
        if sum(p(have, x) for x in range(k, n + 1)) > alpha / 2
        and sum(p(have, x) for x in range(k + 1)) > alpha / 2
    ]
    return inside[0], inside[-1]


@pytest.mark.parametrize("frame", [1, 2, 3, 5, 8, 13])
def test_exact_interval_equals_brute_force_in_small_frames(frame: int) -> None:
    for n in range(1, frame + 1):
        for k in range(n + 1):
            for alpha in (ALPHA, Fraction(1, 10), Fraction(1, 100)):
                found = aggregate.exact_interval(k=k, n=n, frame=frame, alpha=alpha)
                assert (found.low, found.high) == brute_force(k, n, frame, alpha), (k, n, frame, alpha)


@given(st.integers(14, 30).flatmap(lambda frame: st.tuples(st.just(frame), st.integers(1, frame))), st.data())
def test_exact_interval_equals_brute_force(sizes: tuple[int, int], data: Any) -> None:
    frame, n = sizes
    k = data.draw(st.integers(0, n))
    found = aggregate.exact_interval(k=k, n=n, frame=frame, alpha=ALPHA)
    assert (found.low, found.high) == brute_force(k, n, frame, ALPHA)


@pytest.mark.parametrize(("frame", "n", "least"), [(120, 30, 0.957), (60, 20, 0.957), (25, 10, 0.966)])
def test_exact_interval_covers_every_population(frame: int, n: int, least: float) -> None:
    spans = [aggregate.exact_interval(k=k, n=n, frame=frame, alpha=ALPHA) for k in range(n + 1)]
    total = comb(frame, n)
    coverage = min(
        sum(
            comb(have, k) * comb(frame - have, n - k)
            for k in range(max(0, n - frame + have), min(n, have) + 1)
            if spans[k].low <= have <= spans[k].high
        )
        / total
        for have in range(frame + 1)
    )
    assert coverage >= 0.95
    assert round(coverage, 3) == least


@given(st.integers(1, 200).flatmap(lambda frame: st.tuples(st.just(frame), st.integers(1, frame))), st.data())
def test_exact_interval_holds_the_sample_and_has_no_false_certainty(
    sizes: tuple[int, int], data: Any
) -> None:
    frame, n = sizes
    k = data.draw(st.integers(0, n))
    found = aggregate.exact_interval(k=k, n=n, frame=frame, alpha=ALPHA)
    assert k <= found.high
    assert found.low <= frame - (n - k)
    assert found.low * n <= k * frame <= found.high * n or found.is_near_census
    if found.low == found.high:
        assert n == frame or found.is_near_census
    mirrored = aggregate.exact_interval(k=n - k, n=n, frame=frame, alpha=ALPHA)
    assert (mirrored.low, mirrored.high) == (frame - found.high, frame - found.low)


def test_largest_frame_has_its_interval_at_once() -> None:
    found = aggregate.exact_interval(k=1_250, n=2_500, frame=5_000, alpha=ALPHA)
    assert found.low + found.high == 5_000
    assert 2_400 < found.low < 2_500


def test_census_has_no_interval_left() -> None:
    assert aggregate.wilson_fpc(k=3, n=4, frame=4, confidence=0.95) == (0.75, 0.75)


@given(st.integers(1, 100), st.data(), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_holds_the_share_and_lies_in_0_to_1(n: int, data: Any, confidence: float) -> None:
    k = data.draw(st.integers(0, n))
    low, high = wilson(k / n, n, confidence=confidence)
    assert 0 <= low <= k / n <= high <= 1
    assert low < high


def test_normal_quantile() -> None:
    assert normal_quantile(0.95) == near(1.959963984540054)


# --- size and silence


def test_size_and_nonresponse_vectors() -> None:
    for case in cases("size_nonresponse", "size"):
        given_, expected = case["input"], case["expected"]
        options = {"margin": given_["margin"], "confidence": given_["confidence"]}
        assert aggregate.unlimited_sample_size(**options) == near(expected["n0"])
        assert aggregate.sample_size(frame=given_["N"], **options) == expected["n"]
    for case in cases("size_nonresponse", "nonresponse"):
        given_, expected = case["input"], case["expected"]
        drawn, responded = given_["drawn"], given_["responded"]
        found = aggregate.worst_case(k=given_["yes"], drawn=drawn, responded=responded)
        assert list(found) == near(expected["worst_case_bounds"])
        assert responded / drawn == near(expected["response_rate"])


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_worst_case_bounds_hold_every_way_the_silent_may_think(k: int, more: int, silent: int) -> None:
    drawn = k + more + silent
    low, high = aggregate.worst_case(k=k, drawn=drawn, responded=k + more)
    for thought in range(silent + 1):
        assert drawn == 0 or low <= (k + thought) / drawn <= high


# --- several options, strata, models


def test_option_vectors() -> None:
    for case in cases("options", "goodman"):
        found = aggregate.goodman(case["input"]["counts"], confidence=0.95)
        assert [list(span) for span in found] == [near(span) for span in case["expected"]], case["id"]
    for case in cases("options", "dissent"):
        found_ = aggregate.dissent(case["input"]["counts"])
        assert found_ is not None
        for name, value in case["expected"].items():
            assert getattr(found_, name) == near(value), (case["id"], name)


@given(st.lists(st.integers(0, 40), min_size=2, max_size=10).filter(any))
def test_dissent_lies_within_its_bounds(counts: list[int]) -> None:
    found = aggregate.dissent(counts)
    assert found is not None
    assert -1e-9 <= found.dissent_index <= 1 - 1 / len(counts) + 1e-9
    assert -1e-9 <= found.gini_simpson_normalised <= 1 + 1e-9
    assert -1e-9 <= found.entropy_normalised <= 1 + 1e-9
    assert 0 <= found.margin_top_two <= 1


def test_nobody_dissents_when_nobody_answers() -> None:
    assert aggregate.dissent([0, 0, 0]) is None
    assert aggregate.goodman([0, 0, 0], confidence=0.95) == [(0, 1)] * 3


@given(st.lists(st.integers(0, 40), min_size=3, max_size=6).filter(any))
def test_simultaneous_intervals_are_wider_than_single_ones(counts: list[int]) -> None:
    n = sum(counts)
    for k, (low, high) in zip(counts, aggregate.goodman(counts, confidence=0.95), strict=True):
        single = wilson(k / n, n, confidence=0.95)
        assert low <= single[0] + 1e-9
        assert high >= single[1] - 1e-9


def strata_of(case: dict[str, Any]) -> list[Stratum]:
    return [Stratum(one["name"], one["N"], one["n"], one["k"]) for one in case["input"]["strata"]]


def test_stratified_vectors() -> None:
    for case in cases("stratified"):
        found, expected = aggregate.stratified(strata_of(case), confidence=0.95), case["expected"]
        assert found.share == near(expected["weighted_share"]), case["id"]
        assert found.unweighted_share == near(expected["unweighted_share"])
        assert [list(names) for names in found.collapsed] == expected["collapsed"]
        assert list(found.not_represented) == expected["not_represented"]
        assert found.se == near(expected["se"])
        assert found.n_eff == near(expected["n_eff"])
        assert found.n_eff_from == expected["n_eff_from"]
        assert found.interval == near(expected["interval"])


@pytest.mark.parametrize("case", OWN["stratified"], ids=lambda case: case["id"])
def test_own_stratified_figures(case: dict[str, Any]) -> None:
    found = aggregate.stratified(strata_of(case), confidence=0.95)
    assert [list(names) for names in found.collapsed] == case["expected"]["collapsed"]
    assert found.share == near(case["expected"]["share"])
    assert found.n_eff_from == case["expected"]["n_eff_from"]
    assert list(found.interval) == near(case["expected"]["interval"])


@given(st.lists(parts_of(30), min_size=1, max_size=5), st.data())
def test_stratified_estimate_of_anything_is_a_share_inside_its_interval(
    sizes: list[tuple[int, int]], data: Any
) -> None:
    strata = [
        Stratum(f"s{at}", frame, n, data.draw(st.integers(0, n))) for at, (frame, n) in enumerate(sizes)
    ]
    found = aggregate.stratified(strata, confidence=0.95)
    low, high = found.interval
    assert 0 <= low <= high <= 1
    if found.share is not None:
        assert low - 1e-9 <= found.share <= high + 1e-9
    else:
        assert not any(n for _, n in sizes)
    if low == high:
        asked = [one for one in strata if one.n]
        assert all(one.n == one.N for one in asked)


@given(st.lists(st.tuples(st.integers(5, 30), st.integers(0, 5)), min_size=2, max_size=5))
def test_equal_shares_in_all_strata_are_the_weighted_share(sizes: list[tuple[int, int]]) -> None:
    strata = [Stratum(f"s{at}", frame, 4, 2) for at, (frame, _) in enumerate(sizes)]
    assert aggregate.stratified(strata, confidence=0.95).share == near(0.5)


def test_cluster_vectors() -> None:
    for case in cases("clusters"):
        groups = [Cluster(one["n"], one["yes"]) for one in case["input"]["clusters"]]
        found, expected = aggregate.shared_models(groups, confidence=0.95), case["expected"]
        for name in ("share", "clusters", "largest_cluster_share", "icc_anova", "design_effect", "n_eff"):
            value = expected[name]
            assert getattr(found, name) == (None if value is None else near(value)), (case["id"], name)
        assert found.note == expected["note"]
        if "wilson_on_n_eff" in expected:
            assert found.interval == near(expected["wilson_on_n_eff"])


@given(st.lists(parts_of(20), min_size=2, max_size=8))
def test_shared_models_never_make_the_sample_look_larger(groups: list[tuple[int, int]]) -> None:
    found = aggregate.shared_models([Cluster(n, yes) for n, yes in groups], confidence=0.95)
    assert found.n_eff is not None
    assert 0 < found.n_eff <= sum(n for n, _ in groups) + 1e-9
    assert found.icc_anova is None or 0 <= found.icc_anova <= 1 + 1e-9


def test_model_with_more_than_half_is_told() -> None:
    assert aggregate.shared_models([Cluster(6, 3), Cluster(5, 3)], confidence=0.95).is_largely_one_model
    assert not aggregate.shared_models([Cluster(5, 3), Cluster(5, 3)], confidence=0.95).is_largely_one_model


def test_no_answers_have_no_models() -> None:
    assert aggregate.shared_models([], confidence=0.95).note == "no_answers"


# --- quorum


@pytest.mark.parametrize(
    ("drawn", "answered", "conditions"),
    [(10, 5, []), (10, 4, ["min_responses"]), (20, 5, ["min_response_rate_pct"]), (10, 3, ["min_responses"]),
     (0, 0, ["min_responses"]), (17, 5, ["min_response_rate_pct"]), (16, 5, [])],
)  # fmt: skip
def test_quorum_without_a_declared_one(drawn: int, answered: int, conditions: list[str]) -> None:
    found = aggregate.unmet(Quorum(), drawn=drawn, answered=answered, by_stratum={})
    assert [one.condition for one in found] == conditions


def test_quorum_of_a_stratum() -> None:
    quorum = Quorum(0, 0, (("eu", 2), ("us", 1)))
    found = aggregate.unmet(quorum, drawn=9, answered=3, by_stratum={"eu": 1, "us": 2})
    assert [(one.condition, one.stratum, one.wanted, one.found) for one in found] == [
        ("stratum_min_responses", "eu", 2, 1)
    ]
