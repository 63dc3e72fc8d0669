"""The sample data's polls: one finished, one open, one recurring; the proof of the finished one holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from advisory.polls import poll_verify, selectors
from advisory.polls.core.answers import ABSTAIN
from advisory.polls.models import Poll, PollResponse, PollSchedule
from advisory.polls.services.demo import polls_load
from ecp_project.kernel.clock import utc_now
from tests.console.desk import shown

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db


def test_sample_polls_are_there_to_look_at(people: People) -> None:
    polls_load(log=people.log, clock=utc_now)
    states = {poll.state: poll for poll in Poll.objects.all()}
    assert set(states) == {"closed", "open", "cancelled"}
    result = selectors.results_of(states["closed"])
    assert (result["drawn"], result["answered"], result["silence"]["silent"]) == (14, 13, 0)
    assert result["silence"]["unreachable"] == 1  # it never read its inbox
    assert result["minority_report"]["rationale"]
    # Three models, unless the draw leaves out the few voters of one, as three in a thousand do.
    said = PollResponse.objects.filter(poll=states["closed"]).exclude(document__payload__choice=ABSTAIN)
    assert result["models"]["groups"] == len(set(said.values_list("invitation__base_model", flat=True)))
    assert poll_verify.verify(selectors.proof_of(states["closed"]))["result"] == "ok"
    assert selectors.progress_of(states["open"])["answered"] == 5
    assert PollSchedule.objects.get().next_due_at is not None
    page = shown(people.ben, "/console/polls/")
    assert states["open"].question in page
    assert result["headline"]["text"] in page
