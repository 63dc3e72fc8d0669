"""The result as one document: its figures, its sentences, and what adds up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisory.polls.core.aggregate import SILENCE, Quorum
from advisory.polls.core.results import Asked, Terms, ledger_estimates, result_of

if TYPE_CHECKING:
    import random

pytestmark = pytest.mark.unit

OPTIONS = ("support", "oppose", "abstain")
THREE = ("wait", "act", "ask_human", "abstain")


def terms(frame: int = 120, options: tuple[str, ...] = OPTIONS, **others: Any) -> Terms:
    strata = others.pop("strata", {"": frame})
    return Terms(options, strata, others.pop("estimator", "srs"), 95, others.pop("quorum", Quorum()))


def asked(silence: dict[str, int] | None = None, **choices: int) -> list[Asked]:
    said = [Asked("", choice=choice) for choice, number in choices.items() for _ in range(number)]
    return said + [Asked("", silence=name) for name, number in (silence or {}).items() for _ in range(number)]


def test_worked_example_of_the_specification() -> None:
    found = result_of(
        terms(),
        asked(support=31, oppose=19, abstain=2, silence={"unreachable": 3, "silent": 4, "invalid": 1}),
    )
    assert found["drawn"] == 60
    assert (found["answered"], found["abstained"], found["n"]) == (52, 2, 50)
    assert found["tally"] == {"support": 31, "oppose": 19, "abstain": 2}
    headline = found["headline"]
    assert (headline["option"], headline["share"], headline["from"], headline["to"], headline["of"]) == (
        "support", 0.62, 61, 86, 120,
    )  # fmt: skip
    assert headline["method"] == "hypergeometric_exact"
    assert headline["text"] == (
        "If those who gave no opinion think like those who did, between 61 and 86 of the 120 agents (95 %) "
        "would support."
    )
    assert found["wilson_fpc"] == [0.513746, 0.715876]
    assert found["dissent_index"] == 0.38
    assert found["silence"] == {"unreachable": 3, "silent": 4, "declined": 0, "invalid": 1, "late": 0}
    assert found["inconclusive"] is False
    assert found["unmet"] == []
    assert found["disclaimer"] == (
        "This poll is non-binding. It neither approves nor forbids any action. "
        "It describes 52 answers from 60 sampled agents of 120 to the stated question."
    )
    assert ledger_estimates(found)[0] == {
        "option": "support", "method": "hypergeometric_exact",
        "share_ppm": 620_000, "low_ppm": 508_333, "high_ppm": 716_667,
    }  # fmt: skip


def test_full_answer_needs_no_condition() -> None:
    text = result_of(terms(), asked(support=31, oppose=19))["headline"]["text"]
    assert text == "Between 61 and 86 of the 120 agents (95 %) would support."


def test_other_options_are_chosen_and_not_supported() -> None:
    text = result_of(terms(60, THREE), asked(ask_human=14, wait=6))["headline"]["text"]
    assert text == "Between 30 and 51 of the 60 agents (95 %) would choose ask human."


def test_census_and_near_census_are_told_apart() -> None:
    census = result_of(terms(10), asked(support=10))
    assert census["headline"]["text"] == "10 of the 10 agents would choose support."
    near = result_of(terms(100), asked(support=99))
    assert near["options"][0]["marks"] == ["near_census"]
    assert near["headline"]["text"] == "100 of the 100 agents would choose support (95 %)."


def test_nobody_answered() -> None:
    found = result_of(terms(), asked(silence={"silent": 5}))
    assert found["inconclusive"] is True
    assert found["headline"]["share"] is None
    assert found["options"][0]["worst_case"] == [0.0, 1.0]
    assert found["headline"]["text"].startswith("Nobody of the 5 agents asked gave an opinion")
    assert ledger_estimates(found) == []
    assert found["minority_report"] is None


def test_all_abstained_is_no_opinion() -> None:
    found = result_of(terms(), asked(abstain=8))
    assert (found["answered"], found["n"], found["inconclusive"]) == (8, 0, True)
    assert found["dissent_index"] is None


def test_unmet_quorum_leaves_the_figures_in_place() -> None:
    found = result_of(terms(), asked(support=3, oppose=1, silence={"silent": 16}))
    assert found["inconclusive"] is True
    assert [one["condition"] for one in found["unmet"]] == ["min_responses", "min_response_rate_pct"]
    assert found["headline"]["share"] == 0.75
    assert found["options"][0]["worst_case"] == [0.15, 0.95]


def test_three_options_have_simultaneous_intervals() -> None:
    found = result_of(terms(500, THREE), asked(wait=18, act=7, ask_human=3))
    assert [one["simultaneous"] for one in found["options"]] == [
        [0.419592, 0.817578], [0.109005, 0.475948], [0.029985, 0.317799],
    ]  # fmt: skip
    assert "simultaneous" not in result_of(terms(), asked(support=3))["options"][0]


def test_stratified_poll_tells_shares() -> None:
    rows = [
        Asked(stratum, choice="support" if at < k else "oppose")
        for stratum, n, k in (("A", 20, 14), ("B", 15, 5), ("C", 10, 8))
        for at in range(n)
    ]
    found = result_of(terms(strata={"A": 100, "B": 60, "C": 15}, estimator="stratified"), rows)
    assert (
        found["headline"]["text"]
        == "Between 45.3 % and 70.2 % of the 175 agents (95 %) would choose support."
    )
    assert found["options"][0]["n_eff"] == 56.148964
    assert ledger_estimates(found)[0]["share_ppm"] == 582_857


def test_stratum_without_an_answer_is_named() -> None:
    rows = [Asked("A", choice="support" if at < 3 else "oppose") for at in range(8)] + [
        Asked("B", silence="silent")
    ]
    found = result_of(terms(strata={"A": 40, "B": 12}, estimator="stratified"), rows)
    assert found["options"][0]["not_represented"] == ["B"]
    assert "outside of B" in found["headline"]["text"]


def test_tie_is_told() -> None:
    found = result_of(terms(), asked(oppose=6, support=6))
    assert found["headline"]["tied"] is True
    assert found["headline"]["option"] == "support"  # the first of the options, not of the answers


def test_minority_report_is_the_longest_reason_of_the_largest_minority() -> None:
    rows = [
        *[Asked("", choice="wait", rationale="A very long reason of the majority.") for _ in range(5)],
        Asked("", choice="act", rationale="Short.", agent_id="a"),
        Asked("", choice="act", rationale="<b>Longer</b> reason.", agent_id="b"),
        Asked("", choice="ask_human", rationale="The longest reason of all the minorities.", agent_id="c"),
    ]
    report = result_of(terms(60, THREE), rows)["minority_report"]
    assert report == {"option": "act", "count": 2, "rationale": "<b>Longer</b> reason."}


def test_undeclared_model_is_a_group_of_its_own() -> None:
    rows = [Asked("", choice="support", base_model="m") for _ in range(4)] + [Asked("", choice="oppose")] * 2
    models = result_of(terms(), rows)["models"]
    assert models["groups"] == 3
    assert models["undeclared_share"] == 0.333333
    assert models["largely_one_model"] is True


choices = st.sampled_from(OPTIONS).map(lambda choice: Asked("", choice=choice))
silences = st.sampled_from(SILENCE).map(lambda name: Asked("", silence=name))


@given(st.lists(st.one_of(choices, silences), max_size=60), st.randoms(use_true_random=False))
def test_everything_adds_up_in_any_order(rows: list[Asked], shuffler: random.Random) -> None:
    found = result_of(terms(80), rows)
    assert found["answered"] + sum(found["silence"].values()) == found["drawn"] == len(rows)
    assert sum(found["tally"].values()) == found["answered"]
    assert found["n"] == found["answered"] - found["abstained"]
    shuffled = rows[:]
    shuffler.shuffle(shuffled)
    assert result_of(terms(80), shuffled) == found
