"""The client's poll inbox and signed answers, against a served ledger; and the example that lives on them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from advisory.polls.models import InvitationState, PollInvitation, PollResponse
from advisory.polls.services import lifecycle
from ecp_client import AsyncLedger, InvalidInput, Ledger, Refused, Signer, Unavailable
from ecp_client.polls import Invitation, signed_answer
from ecp_project.kernel.signing import b64url
from ledger.models import Agent
from tests.clients.conftest import KEY
from tests.clients.scripted import Reply, Scripted
from tests.factories.polls import brought_to
from tests.ledger.signing import registered
from tests.shared import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.factories.polls import Story
    from tests.served import Address


@pytest.fixture
def signer(answering: Address) -> Signer:
    """The key of Ada's agent, which accepts polls from now on."""
    agent = answering.people.ada_agent.agent
    Agent.objects.filter(pk=agent.pk).update(accepts_polls=True)
    pen, _ = registered(agent, answering.people.log)
    return Signer.from_seed(pen.seed)


def asked(answering: Address, **body: Any) -> Story:
    return brought_to(answering.people, "open", n=1, **body)


def closed(story: Story) -> dict[str, Any]:
    """What came of it, as everybody reads it then."""
    poll = lifecycle.poll_close(
        poll_id=story.id, actor="system:test", now=story.now, reason="Enough has been said."
    )
    assert poll.results is not None
    found: dict[str, Any] = poll.results
    return found


@pytest.mark.db
def test_a_question_is_read_answered_once_and_gone_from_the_inbox(
    answering: Address, signer: Signer, make_ledger: Callable[..., Ledger]
) -> None:
    story = asked(answering)
    ledger = make_ledger(answering.url, answering.key, signer=signer)
    (invitation,) = ledger.poll_inbox()
    assert invitation.question == story.poll.question
    assert sorted(invitation.options) == sorted(story.poll.options)
    receipt = ledger.poll_answer(
        invitation, "oppose", confidence_pct=80, rationale="The parcel never came.", model_id="kite"
    )
    assert not receipt.is_duplicate
    assert ledger.poll_inbox(wait=0.1) == []
    with pytest.raises(Refused) as second:
        ledger.poll_answer(invitation, "support", confidence_pct=80)
    assert second.value.code == "already_answered"
    assert closed(story)["tally"] == {"support": 0, "oppose": 1, "abstain": 0}
    (kept,) = PollResponse.objects.all()
    assert bytes(kept.response_sha256).hex() == receipt.response_sha256
    assert kept.document is not None
    assert kept.document["payload"]["model_id"] == "kite"


@pytest.mark.db
def test_the_async_client_answers_and_declines(answering: Address, signer: Signer, tmp_path: Path) -> None:
    async def all_of_it() -> None:
        async with AsyncLedger(
            answering.url, answering.key, signer=signer, queue_dir=tmp_path / "queue"
        ) as ledger:
            first, second = sorted(await ledger.poll_inbox(), key=lambda one: one.question)
            receipt = await ledger.poll_answer(first, "support", confidence_pct=60)
            assert not receipt.is_duplicate
            await ledger.poll_decline(second)
            assert await ledger.poll_inbox() == []

    stories = [asked(answering, question=f"Question {number}: shall we?") for number in (1, 2)]
    asyncio.run(all_of_it())
    states = [PollInvitation.objects.get(poll=story.poll).state for story in stories]
    assert states == [InvitationState.ANSWERED, InvitationState.DECLINED]


@pytest.mark.db
def test_the_example_answers_what_its_inbox_holds(answering: Address, signer: Signer, tmp_path: Path) -> None:
    story = asked(answering)
    key_file = tmp_path / "agent.key"
    key_file.write_text(b64url(signer._seed) + "\n", encoding="ascii")
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "examples/poll_inbox.py", "--signer", str(key_file), "--rounds", "1", "--wait", "0"],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60,
        env={
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "URL": answering.url, "KEY": answering.key,
            "PYTHONPATH": str(PROJECT / "clients" / "python" / "src"),
        },
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"answered: {story.poll.question}\n"), done.stderr
    assert closed(story)["answered"] == 1


INVITED = Invitation(
    "i", "p", "pricing-bot", "Shall we?", "00" * 32, ("support", "abstain"), "2026-01-01T00:00:00Z"
)


@pytest.mark.unit
def test_an_answer_needs_a_key_and_an_option_that_was_offered(make_ledger: Callable[..., Ledger]) -> None:
    with pytest.raises(InvalidInput, match="signer_missing"):
        make_ledger().poll_answer(INVITED, "support", confidence_pct=50)
    signing = make_ledger(signer=Signer.from_seed(bytes(32)))
    with pytest.raises(InvalidInput, match="oppose is none of support, abstain"):
        signing.poll_answer(INVITED, "oppose", confidence_pct=50)


@pytest.mark.unit
def test_two_answers_never_share_a_nonce() -> None:
    bodies = [signed_answer(Signer.from_seed(bytes(32)), INVITED, "support", {}) for _ in range(2)]
    assert bodies[0] != bodies[1]


@pytest.mark.unit
def test_an_inbox_that_is_no_inbox_is_no_empty_one(make_ledger: Callable[..., Ledger]) -> None:
    with Scripted(always=lambda _: Reply(200, b'{"results":[{}]}', "application/json")) as server:
        ledger = make_ledger(server.url, KEY)
        with pytest.raises(Unavailable, match="the inbox is not readable"):
            ledger.poll_inbox()
        assert server.told[0].path == "/api/v1/polls/inbox/?wait=0"
