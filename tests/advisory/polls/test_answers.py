"""Answers: each check in its order, repeats, revisions, late ones; nothing shows before the close."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, connection, transaction

from advisory.polls import selectors
from advisory.polls.models import PollInvitation, PollResponse
from advisory.polls.services.answers import answer_decline, answer_enter, answer_receive, read_answer
from ecp_project.kernel.canonical import encode
from ecp_project.kernel.errors import BadRequest, Conflict, EcpError, NotFound, Unavailable
from ledger.models import AgentKey, Entry, Log, Mode
from tests.advisory.polls.test_lifecycle import statements
from tests.factories.polls import Story, asked_agents, signed_answer

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db


def refused(story: Story, document: dict[str, Any], agent_id: int) -> str:
    before = Entry.objects.count()
    with pytest.raises(EcpError) as caught:
        answer_receive(poll_id=story.id, document=document, agent_id=agent_id, now=story.now)
    assert Entry.objects.count() == before
    return f"{caught.value.status} {caught.value.code}"


def test_each_check_has_its_code_and_the_first_one_decides(people: People) -> None:
    agents = asked_agents(people, 9)
    other = Story(people, {"question": "Is this another question?"})
    story = Story(people).commit().draw()
    invitation = story.invitations()[0]
    agent, seed = invitation.agent, b"\x07" * 32
    bad: dict[str, Any] = {
        "question_hash": other.poll.question_hash, "agent_id": "voter-999", "seed": seed, "choice": "maybe",
    }  # fmt: skip

    def answer(*faults: str) -> dict[str, Any]:
        return signed_answer(invitation, **{"choice": "support"} | {name: bad[name] for name in faults})

    everything = answer(*bad)
    assert refused(story, everything, people.ada_agent.agent.id) == "404 not_found"
    assert refused(story, signed_answer(invitation, invitation_id="x"), agent.id) == "404 not_found"
    assert refused(story, everything, agent.id) == "409 poll_not_open"
    story.open()
    assert refused(story, everything, agent.id) == "422 question_mismatch"
    assert refused(story, answer("agent_id", "seed", "choice"), agent.id) == "422 agent_mismatch"
    assert refused(story, answer("seed", "choice"), agent.id) == "422 key_inactive"
    forged = answer("choice")
    forged["signature"] = answer()["signature"]
    assert refused(story, forged, agent.id) == "422 signature_invalid"
    assert refused(story, answer("choice"), agent.id) == "422 choice_unknown"
    others = next(one for one in story.invitations() if one.agent_id != agent.id)
    story.say(others, nonce="ab" * 16)
    assert refused(story, signed_answer(invitation, nonce="ab" * 16), agent.id) == "409 nonce_reused"
    assert PollInvitation.objects.get(pk=invitation.pk).refused_answers == 5
    story.say(invitation)
    assert refused(story, signed_answer(invitation, "oppose", nonce="cd" * 16), agent.id) == (
        "409 already_answered"
    )
    assert len(agents) == 9


def test_answer_to_another_poll_of_the_same_question_is_refused(people: People) -> None:
    asked_agents(people, 9)
    first, second = Story(people).opened(), Story(people).opened()
    invitation = second.invitations()[0]
    document = signed_answer(invitation, poll_id=str(first.id))
    assert refused(second, document, invitation.agent_id) == "422 question_mismatch"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", "malformed_json"),
        (b'{"kid": "x"}', "not_canonical"),
        (b'{"b":1,"a":1}', "not_canonical"),
        (b'{"a":1.5}', "not_canonical"),
        (b"{}", "schema_invalid"),
        (b"[]", "not_canonical"),
    ],
)
def test_bytes_that_are_no_answer_are_refused(raw: bytes, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_answer(raw)
    assert caught.value.code == code


def test_revoked_or_expired_keys_sign_nothing(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).opened()
    for invitation, change in zip(
        story.invitations(),
        (
            {"revoked_at": story.now},
            {"valid_until": story.now},
            {"valid_from": story.now + timedelta(seconds=1)},
        ),
        strict=False,
    ):
        AgentKey.objects.filter(agent_id=invitation.agent_id).update(**change)
        assert refused(story, signed_answer(invitation), invitation.agent_id) == "422 key_inactive"


def test_identical_answer_again_is_the_same_answer(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).opened()
    invitation = story.invitations()[0]
    first = story.say(invitation)
    again = story.say(invitation)
    assert (first.is_duplicate, again.is_duplicate) == (False, True)
    assert again.response_id == first.response_id
    assert len(statements("ecp.poll.response/1")) == 1


def test_last_answer_counts_where_revisions_are_allowed(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people, {"revisions": "last"}).opened()
    invitation = story.invitations()[0]
    first = story.say(invitation, "support")
    second = story.say(invitation, "oppose", nonce="cd" * 16)
    assert statements("ecp.poll.response/1")[1]["supersedes"] == str(first.response_id)
    story.close()
    result = selectors.results_of(story.poll)
    assert result["tally"] == {"support": 0, "oppose": 1, "abstain": 0}
    assert [one["response_sha256"] for one in selectors.proof_of(story.poll)["responses"]] == [
        second.response_sha256
    ]
    assert PollResponse.objects.count() == 2  # all are kept


def test_late_answer_is_kept_and_not_counted(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).opened()
    first, second, third, fourth = story.invitations()[:4]
    assert story.poll.deadline is not None
    story.now = story.poll.deadline
    story.say(first)  # received at the deadline itself
    story.now += timedelta(microseconds=1)
    for _ in range(2):  # a repeat of it leaves no second entry
        with pytest.raises(Conflict) as caught:
            story.say(second)
        assert caught.value.code == "poll_closed"
    assert refused(story, signed_answer(third, seed=b"\x07" * 32), third.agent_id) == "409 poll_closed"
    said = statements("ecp.poll.response/1")
    assert [one["counted"] for one in said] == [True, False]
    story.close()
    result = selectors.results_of(story.poll)
    assert result["answered"] == 1
    assert result["silence"]["late"] == 1
    assert refused(story, signed_answer(fourth), fourth.agent_id) == "409 poll_closed"


def test_silence_is_told_apart_and_adds_up(people: People) -> None:
    asked_agents(people, 12)
    story = Story(people, {"n": 8}).opened()
    rows = story.invitations()
    PollInvitation.objects.filter(pk__in=[row.pk for row in rows[1:]]).update(
        state="delivered", delivered_at=story.now
    )
    story.say(rows[1])
    refused(story, signed_answer(rows[2], choice="maybe"), rows[2].agent_id)
    answer_decline(poll_id=story.id, invitation_id=rows[3].id, agent_id=rows[3].agent_id, now=story.now)
    story.say(rows[4], "abstain")
    # a fault that is put right counts as an answer
    refused(story, signed_answer(rows[5], choice="maybe"), rows[5].agent_id)
    story.say(rows[5], "oppose")
    # who declines may still answer
    answer_decline(poll_id=story.id, invitation_id=rows[6].id, agent_id=rows[6].agent_id, now=story.now)
    story.say(rows[6])
    story.close()
    result = selectors.results_of(story.poll)
    assert result["silence"] == {"unreachable": 1, "silent": 1, "declined": 1, "invalid": 1, "late": 0}
    assert (result["answered"], result["abstained"], result["drawn"]) == (4, 1, 8)
    assert PollInvitation.objects.get(pk=rows[0].pk).state == "unreachable"
    assert PollInvitation.objects.get(pk=rows[7].pk).state == "silent"
    assert result["headline"]["text"].startswith("If those who gave no opinion think like those who did,")


def test_unmet_quorum_is_inconclusive_and_still_published(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people, {"quorum": {"min_responses": 5, "min_response_rate_pct": 90}}).opened()
    story.say(story.invitations()[0])
    story.close()
    result = selectors.results_of(story.poll)
    assert result["inconclusive"] is True
    assert [one["condition"] for one in result["unmet"]] == ["min_responses", "min_response_rate_pct"]
    assert result["headline"]["share"] == 1.0
    assert statements("ecp.poll.closed/1")[0]["inconclusive"] is True


# --- by hand


def test_person_answers_for_an_agent_without_a_key_and_for_no_other(people: People) -> None:
    asked_agents(people, 4, prefix="hand", keys=False)
    asked_agents(people, 4)
    story = Story(people).opened()
    pseudonym = people.ada.memberships.get().pseudonym
    rows = {row.transport: row for row in story.invitations()}
    entry = {
        "invitation_id": str(rows["manual"].id),
        "choice": "support",
        "reason": "Asked Ms Lang by phone.",
    }
    for fault, code in (
        ({"reason": "phone"}, "value_invalid"),
        ({"choice": "maybe"}, "choice_unknown"),
        ({"invitation_id": str(rows["pull"].id)}, "poll_state"),
    ):
        with pytest.raises(EcpError) as caught:
            answer_enter(poll_id=story.id, entry=entry | fault, pseudonym=pseudonym, now=story.now)
        assert caught.value.code == code
    answer_enter(poll_id=story.id, entry=entry, pseudonym=pseudonym, now=story.now)
    with pytest.raises(Conflict, match="already_answered"):
        answer_enter(poll_id=story.id, entry=entry, pseudonym=pseudonym, now=story.now)
    assert statements("ecp.poll.response/1")[0]["actor"] == f"staff:{pseudonym}"
    story.close()
    assert selectors.results_of(story.poll)["manual"] == 1
    response = selectors.proof_of(story.poll)["responses"][0]
    assert (response["manual"], response["public_key"], response["signature"]) == (True, None, None)


# --- blind until close


def test_no_row_of_an_open_poll_holds_a_choice_in_the_clear(people: People) -> None:
    """Nothing in the whole database changes its length or shows the option while the poll is open."""
    asked_agents(people, 9)
    story = Story(people, {"options": ["zebra_yes", "quagga_no"]}).opened()
    rows = story.invitations()
    story.say(rows[0], "zebra_yes", rationale="Because the zebra said so.")
    story.say(rows[1], "quagga_no", rationale="No.")
    texts = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'polls_%'"
        )
        tables = [row[0] for row in cursor.fetchall()]
        for table in [*tables, "ledger_entry"]:
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t")  # noqa: S608 - names from the catalogue
            texts += [(table, row[0]) for row in cursor.fetchall()]
    allowed = {"polls_poll", "polls_pollinvitation", "ledger_entry"}  # they list the options
    for table, text in texts:
        assert "the zebra said so" not in text
        if table not in allowed:
            assert "zebra_yes" not in text, table
            assert "quagga_no" not in text, table
    for entry in statements("ecp.poll.response/1"):
        assert "zebra_yes" not in str(entry)
    sizes = {len(bytes(one.sealed or b"")) for one in PollResponse.objects.all()}
    assert len(sizes) == 1
    assert "zebra_yes" not in str(selectors.progress_of(story.poll))
    assert selectors.progress_of(story.poll)["answered"] == 2
    with pytest.raises(Conflict) as caught:
        selectors.results_of(story.poll)
    assert caught.value.code == "poll_open"
    story.close()
    assert selectors.results_of(story.poll)["tally"]["zebra_yes"] == 1


def test_answers_of_a_cancelled_poll_stay_sealed(people: People) -> None:
    from advisory.polls.services.lifecycle import poll_cancel  # noqa: PLC0415 - its only use

    asked_agents(people, 9)
    story = Story(people).opened()
    story.say(story.invitations()[0])
    poll = poll_cancel(poll_id=story.id, actor="system:test", now=story.now, reason="Nobody needs it now.")
    assert poll.wrapped_key is None
    assert PollResponse.objects.get().document is None


# --- the database and the ledger


def test_database_counts_one_answer_of_an_invitation(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).opened()
    story.say(story.invitations()[0])
    row = PollResponse.objects.get()
    row.pk = story.poll.pk
    row.response_sha256, row.nonce_mac = b"\x01" * 32, b"\x02" * 32
    with pytest.raises(IntegrityError, match="pollresponse_one_counts"), transaction.atomic():
        row.save(force_insert=True)


def test_halted_ledger_takes_no_answer_and_the_retry_counts_once(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).opened()
    invitation = story.invitations()[0]
    Log.objects.filter(pk=people.log.pk).update(mode=Mode.HALT)
    with pytest.raises(Unavailable):
        story.say(invitation)
    assert not PollResponse.objects.exists()
    Log.objects.filter(pk=people.log.pk).update(mode=Mode.ACTIVE)
    assert not story.say(invitation).is_duplicate


def test_unknown_invitation_cannot_be_declined(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).opened()
    first, second = story.invitations()[:2]
    with pytest.raises(NotFound):
        answer_decline(poll_id=story.id, invitation_id=first.id, agent_id=second.agent_id, now=story.now)
    story.say(first)
    with pytest.raises(Conflict):
        answer_decline(poll_id=story.id, invitation_id=first.id, agent_id=first.agent_id, now=story.now)
    assert read_answer(encode(signed_answer(first)))["payload"]["choice"] == "support"
