"""Bodies of requests: closed sets, one code, a pointer to the fault."""

from __future__ import annotations

from typing import Any

import pytest

from advisory.polls.core.bodies import MANUAL, SIZE, checked, poll_body, schedule_body
from ecp_project.kernel.errors import BadRequest

pytestmark = pytest.mark.unit

BODY: dict[str, Any] = {
    "question": "Should refund batch 88 go out tonight?",
    "options": ["support", "oppose"],
    "n": 8,
    "deadline_minutes": 60,
}
SCHEDULE: dict[str, Any] = {"title": "Weekly mood", "cron": "0 9 * * 1", "template": BODY}


def test_what_is_left_out_has_its_default() -> None:
    assert poll_body(BODY) == BODY | {
        "options": ["support", "oppose", "abstain"],
        "strata_by": [],
        "filter": {},
        "exclude_same_owner": False,
        "estimator": "srs",
        "confidence_pct": 95,
        "quorum": {"min_responses": 5, "min_response_rate_pct": 30},
        "revisions": "none",
        "auto": False,
    }


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"question": "Too short"}, "/question"),
        ({"question": "x" * 2_001}, "/question"),
        ({"options": ["yes"]}, "/options"),
        ({"options": ["yes", "yes"]}, "/options"),
        ({"options": ["Yes", "no"]}, "/options/0"),
        ({"options": [f"o{number}" for number in range(10)]}, "/options"),  # abstain would be the eleventh
        ({"n": 0}, "/n"),
        ({"n": "8"}, "/n"),
        ({"deadline_minutes": 0}, "/deadline_minutes"),
        ({"deadline_minutes": 43_201}, "/deadline_minutes"),
        ({"confidence_pct": 100}, "/confidence_pct"),
        ({"estimator": "raking"}, "/estimator"),
        ({"entropy": "drand"}, "/entropy"),
        ({"strata_by": ["role", "role"]}, "/strata_by"),
        ({"mood": "good"}, "/mood"),
        ({"quorum": {"min_responses": 1}}, "/quorum/min_response_rate_pct"),
    ],
)
def test_bodies_that_are_no_poll_are_refused(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(BadRequest) as caught:
        poll_body(BODY | change)
    assert (caught.value.code, caught.value.pointer) == ("value_invalid", pointer)


@pytest.mark.parametrize("name", BODY)
def test_each_required_member_is_needed(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        poll_body({key: value for key, value in BODY.items() if key != name})
    assert (caught.value.code, caught.value.reason) == ("value_invalid", "missing_field")


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"cron": "* * * * *"}, "cron_invalid", "/cron"),
        ({"timezone": "Mars/Olympus"}, "bad_value", "/timezone"),
        ({"template": BODY | {"n": 0}}, "value_invalid", "/template/n"),
        ({"if_open": "queue"}, "value_invalid", "/if_open"),
        ({"max_runs": 0}, "value_invalid", "/max_runs"),
        ({"ends_at": "tomorrow"}, "value_invalid", "/ends_at"),
    ],
)
def test_bodies_that_are_no_schedule_are_refused(change: dict[str, Any], code: str, pointer: str) -> None:
    with pytest.raises(BadRequest) as caught:
        schedule_body(SCHEDULE | change)
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


def test_change_of_a_schedule_names_only_what_changes() -> None:
    assert schedule_body({"enabled": False, "ends_at": None}, is_change=True) == {
        "enabled": False, "ends_at": None,
    }  # fmt: skip
    with pytest.raises(BadRequest):
        schedule_body({"enabled": False})


def test_small_bodies_are_closed_too() -> None:
    checked(SIZE, {"frame_size": 200, "margin_pct": 10})
    for members, document in ((SIZE, {"frame_size": 200}), (MANUAL, {"choice": "support"})):
        with pytest.raises(BadRequest):
            checked(members, document)
