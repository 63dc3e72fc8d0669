"""When the key encryption key is rotated, the keys of polls that have not ended go along."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from advisory.polls import selectors
from advisory.polls.models import Poll
from ledger.services import sealing
from ledger.services.rewrap import keys_rewrap
from tests.factories.polls import Story, asked_agents
from tests.ledger.test_rewrap import rewrap, rotate

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db


def forget_old(settings: Any) -> None:
    settings.ECP_KEK_FALLBACKS = []
    sealing.forget_keys()


def test_polls_at_work_go_on_without_the_old_key(people: People, settings: Any) -> None:
    asked_agents(people, 6)
    committed = Story(people).commit()
    story = Story(people).opened()
    story.say(story.invitations()[0], "oppose")
    rotate(settings)
    code, said = rewrap("--json")
    assert code == 0, said
    assert json.loads(said)["rewrapped"] >= 2
    forget_old(settings)
    story.say(story.invitations()[1], "support")
    story.close()
    assert selectors.results_of(story.poll)["tally"] == {"support": 1, "oppose": 1, "abstain": 0}
    committed.draw()
    assert committed.poll.state == "drawn"


def test_drafts_and_ended_polls_have_no_key_to_wrap(people: People, settings: Any) -> None:
    asked_agents(people, 6)
    Story(people)
    Story(people).opened().close()
    rotate(settings)
    before = list(Poll.objects.order_by("id").values_list("kek_id", "wrapped_key", "wrapped_secret"))
    done = keys_rewrap()
    assert done.left == 0
    assert list(Poll.objects.order_by("id").values_list("kek_id", "wrapped_key", "wrapped_secret")) == before


def test_poll_of_which_a_key_does_not_open_is_named_and_left(people: People, settings: Any) -> None:
    asked_agents(people, 6)
    story = Story(people).commit()
    Poll.objects.filter(pk=story.id).update(wrapped_key=bytes(60))
    secret = bytes(Poll.objects.get().wrapped_secret or b"")
    rotate(settings)
    code, said = rewrap()
    assert code == 1
    assert f"poll {story.id} does not open" in said
    assert bytes(Poll.objects.get().wrapped_secret or b"") == secret
