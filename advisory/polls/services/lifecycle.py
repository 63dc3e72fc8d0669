"""A poll's way: draft, committed, drawn, open, closed; cancelled from anywhere before the end.

Each step locks the poll's row, changes it and appends its entry in one transaction, the entry last. A step
that is already done changes nothing. When the ledger takes nothing, the step has not happened.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection, transaction

from advisory.polls import metrics, selectors
from advisory.polls.core import answers, results, sampling
from advisory.polls.core.aggregate import SILENCE, Quorum
from advisory.polls.core.bodies import poll_body
from advisory.polls.core.results import Asked, Terms
from advisory.polls.core.statements import CLOSED, COMMITTED, DRAWN, MAX_STRATA
from advisory.polls.models import (
    InvitationState,
    Poll,
    PollFrame,
    PollInvitation,
    PollResponse,
    State,
    Transport,
)
from advisory.polls.services import blind
from advisory.polls.services.acts import act_of_person
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import BadRequest, Conflict, Invalid
from ecp_project.kernel.ids import new_row_id, new_uuid7
from ledger.core.fields import short_reason
from ledger.core.statement import SLUG, build_annotation
from ledger.models import POSITIONS_PER_LOG, Agent, AgentKey, AgentStatus, ApiKey, Entry
from ledger.selectors import entries
from ledger.selectors.entries import OrgScope
from ledger.services.ledger import TransparencyLedger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.models import QuerySet

    from ledger.models import Organisation

OPENS_AFTER = timedelta(seconds=45)  # a quiet log gives its public input after 30 seconds
QUIET = timedelta(seconds=30)
GRACE = timedelta(seconds=5)
POSITIONS_TO_INPUT = 2
POLLS = "system:polls"
BATCH = 500
_DONE = {
    "commit": (State.COMMITTED, State.DRAWN, State.OPEN, State.CLOSED),
    "draw": (State.DRAWN, State.OPEN, State.CLOSED),
    "open": (State.OPEN, State.CLOSED),
}


def poll_create(
    *,
    organisation: Organisation,
    scope: OrgScope,
    document: Mapping[str, Any],
    created_by: str,
    now: datetime,
    schedule_id: UUID | None = None,
    due_at: datetime | None = None,
) -> Poll:
    """Write a draft: it leaves no entry and may still be thrown away."""
    body = poll_body(document)
    deciding = ""
    if "decision_id" in body:
        deciding = entries.decision_of(scope=scope, uid=UUID(body["decision_id"])).agent or ""
    elif scope.agents is not None:
        raise BadRequest("value_invalid", "an agent asks about a decision of its own", pointer="/decision_id")
    return Poll.objects.create(
        id=new_row_id(now),
        organisation=organisation,
        created_by=created_by,
        created_at=now,
        question_hash=sampling.question_hash(body["question"], body["options"]),
        deciding_agent=deciding,
        schedule_id=schedule_id,
        due_at=due_at,
        question=body["question"],
        options=body["options"],
        n=body["n"],
        strata_by=body["strata_by"],
        filter=body["filter"],
        exclude_same_owner=body["exclude_same_owner"],
        estimator=body["estimator"],
        confidence_pct=body["confidence_pct"],
        quorum=body["quorum"],
        revisions=body["revisions"],
        deadline_minutes=body["deadline_minutes"],
        auto=body["auto"],
        decision_id=body.get("decision_id"),
        advice_id=body.get("advice_id"),
    )


def locked(poll_id: UUID) -> Poll:
    """Take the poll's row; answers that are being written are waited for."""
    return Poll.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=poll_id)


def _refuse(poll: Poll, step: str) -> Conflict:
    return Conflict("poll_state", f"a {poll.state} poll cannot {step}", state=poll.state)


# --- commit


def poll_commit(*, poll_id: UUID, actor: str, now: datetime) -> Poll:
    """Fix question, frame and rules, and publish the hash of a secret before the public input exists."""
    with transaction.atomic():
        poll = locked(poll_id)
        if poll.state in _DONE["commit"]:
            return poll
        if poll.state != State.DRAFT:
            raise _refuse(poll, "commit")
        rows = frame_rows(poll, now)
        frame = sampling.make_frame((agent_id, stratum) for agent_id, stratum, _ in rows)
        sizes = frame.sizes
        _demand_fair(poll, sizes)
        secret = os.urandom(sampling.SECRET_BYTES)
        blind.new_keys(poll, secret=secret)
        ledger = TransparencyLedger(entries.default_log(scope=OrgScope(poll.organisation_id)))
        given = sampling.allocate(sizes, poll.n)
        poll.strata = [
            {"stratum": name, "size": sizes[name], "n": given[name]} for name in sorted(sizes, key=str.encode)
        ]
        poll.log_id = ledger.log.id
        poll.frame_hash, poll.frame_size = frame.hash, len(frame.rows)
        poll.commitment = sampling.commitment(secret)
        poll.committed_at, poll.opens_at = now, now + OPENS_AFTER
        poll.deadline = poll.opens_at + timedelta(minutes=poll.deadline_minutes)
        poll.state = State.COMMITTED
        stmt = _statement(poll, COMMITTED, actor, now) | {
            "question_hash": poll.question_hash,
            "options": poll.options,
            "frame_hash": poll.frame_hash,
            "frame_size": poll.frame_size,
            "strata": poll.strata,
            "n": min(poll.n, poll.frame_size),
            "commitment": poll.commitment,
            "entropy": "ledger",
            "opens_at": format_time(poll.opens_at),
            "deadline": format_time(poll.deadline),
            "quorum": poll.quorum,
            "estimator": poll.estimator,
            "confidence_pct": poll.confidence_pct,
            "revisions": poll.revisions,
        }
        for name in ("schedule_id", "advice_id", "decision_id"):
            if getattr(poll, name) is not None:
                stmt[name] = str(getattr(poll, name))
        PollFrame.objects.create(poll=poll, rows=rows)
        poll.committed_id = UUID(stmt["id"])
        poll.committed_seq = ledger.append_statement(stmt, now=now).stored.seq
        poll.save()
    return poll


def frame_rows(poll: Poll, now: datetime) -> list[list[str]]:
    """List who could be asked now: [agent_id, stratum, transport], in the order that is hashed."""
    agents = Agent.objects.filter(
        organisation_id=poll.organisation_id, status=AgentStatus.ACTIVE, accepts_polls=True
    ).exclude(slug=poll.deciding_agent)
    if poll.filter:
        agents = agents.filter(labels__contains=poll.filter)
    if poll.exclude_same_owner and poll.deciding_agent:
        owner = (
            Agent.objects.filter(organisation_id=poll.organisation_id, slug=poll.deciding_agent)
            .values_list("owner", flat=True)
            .first()
        )
        if owner:
            agents = agents.exclude(owner=owner)
    found = list(agents.values_list("id", "slug", "labels", "endpoint")[: sampling.MAX_FRAME + 1])
    reachable = _with_a_key(poll.organisation_id, now)
    rows = [
        [slug, stratum_of(slug, labels, poll.strata_by), _transport(agent_id, endpoint, reachable)]
        for agent_id, slug, labels, endpoint in found
    ]
    return sorted(rows, key=lambda row: row[0].encode())


def stratum_of(slug: str, labels: Mapping[str, Any], names: Sequence[str]) -> str:
    """Join the labels' values; an agent without a label stands in the stratum of those without."""
    values = [str(labels.get(name, "")) for name in names]
    for name, value in zip(names, values, strict=True):
        try:
            if value:
                SLUG.check(value)
        except BadRequest:
            detail = f"label {name} of {slug} is no slug, so it names no stratum"
            raise Invalid("value_invalid", detail, pointer="/strata_by") from None
    return sampling.STRATUM_SEPARATOR.join(values)


def _with_a_key(organisation_id: int, now: datetime) -> set[int]:
    keys = AgentKey.objects.filter(agent__organisation_id=organisation_id, revoked_at__isnull=True)
    api = ApiKey.objects.filter(
        organisation_id=organisation_id, agent__isnull=False, revoked_at__isnull=True, expires_at__gt=now
    )
    return {*keys.values_list("agent_id", flat=True), *api.values_list("agent_id", flat=True)}


def _transport(agent_id: int, endpoint: str, reachable: set[int]) -> str:
    """Choose once, at the commitment: nobody answers by hand for an agent that has a key."""
    if endpoint:
        return Transport.WEBHOOK
    return Transport.PULL if agent_id in reachable else Transport.MANUAL


def _demand_fair(poll: Poll, sizes: Mapping[str, int]) -> None:
    if len(sizes) > MAX_STRATA:
        raise Invalid("value_invalid", f"at most {MAX_STRATA} strata are possible", pointer="/strata_by")
    if poll.estimator == results.SRS and not sampling.srs_is_fair(sizes, poll.n):
        detail = "some strata would weigh too much; ask more agents, or take the estimator stratified"
        raise Invalid("value_invalid", detail, pointer="/estimator")


# --- draw


def poll_draw(*, poll_id: UUID, actor: str, now: datetime) -> Poll:
    """Draw by the entry that stands exactly two positions after the commitment."""
    with transaction.atomic():
        poll = locked(poll_id)
        if poll.state in _DONE["draw"]:
            return poll
        if poll.state != State.COMMITTED:
            raise _refuse(poll, "be drawn")
        ledger = TransparencyLedger(selectors.log_of(poll))
        leaf = _public_entry(poll, ledger, now)
        assert poll.committed_seq is not None, poll.id
        secret = blind.secret_of(poll)
        poll.public_input = sampling.ledger_input(poll.committed_seq + POSITIONS_TO_INPUT, leaf)
        drawn = sampling.draw(
            poll_id=str(poll.id),
            frame=sampling.make_frame((agent_id, stratum) for agent_id, stratum, _ in poll.frame.rows),
            n=poll.n,
            secret=secret,
            public_input=poll.public_input,
        )
        assert drawn.frame_hash == poll.frame_hash, (drawn.frame_hash, poll.frame_hash)
        poll.secret, poll.wrapped_secret, poll.seed = secret, None, drawn.seed
        poll.sample_hash = drawn.sample_hash
        poll.state = State.DRAWN
        stmt = _statement(poll, DRAWN, actor, now) | {
            "secret": secret.hex(),
            "public_input": poll.public_input,
            "seed": drawn.seed.hex(),
            "sample_hash": drawn.sample_hash,
        }
        poll.drawn_id = UUID(stmt["id"])
        poll.save()
        _invite(poll, drawn, now)
        ledger.append_statement(stmt, now=now)
    return poll


def _public_entry(poll: Poll, ledger: TransparencyLedger, now: datetime) -> bytes:
    """Give the leaf hash of the entry that decides; a log that stays quiet is helped with a note."""
    assert poll.committed_seq is not None, poll.id
    assert poll.committed_at is not None, poll.id
    place = ledger.log.id * POSITIONS_PER_LOG + poll.committed_seq + POSITIONS_TO_INPUT
    for number in range(POSITIONS_TO_INPUT + 1):
        leaf = Entry.objects.filter(pk=place).values_list("leaf_hash", flat=True).first()
        if leaf is not None:
            return bytes(leaf)
        if now < poll.committed_at + QUIET:
            wait = (poll.committed_at + QUIET - now).total_seconds()
            raise Conflict(
                "poll_state", "the entry that decides the draw is not there yet", retry_after=int(wait) + 1
            )
        note = build_annotation(
            id_=new_uuid7(now),
            org=poll.organisation.slug,
            ts=now,
            actor=POLLS,
            kind="note",
            target=str(poll.committed_id),
            text=f"The log was quiet after this commitment: note {number + 1} lets the poll be drawn.",
        )
        ledger.append_statement(note, now=now)
    raise AssertionError(f"position {place} is still empty after two notes")


def _invite(poll: Poll, drawn: sampling.Draw, now: datetime) -> None:
    agents = {
        agent.slug: agent
        for agent in Agent.objects.filter(organisation_id=poll.organisation_id, slug__in=drawn.sample)
    }
    transports = transports_of(poll)
    invitations = [
        invitation_made(poll, agents[place.agent_id], (stratum.name, place), transports, now)
        for stratum in drawn.strata
        for place in stratum.selected
    ]
    PollInvitation.objects.bulk_create(invitations, batch_size=BATCH)


def transports_of(poll: Poll) -> dict[str, str]:
    """How each agent of the frame is asked, as it was at the commitment."""
    return {agent_id: transport for agent_id, _, transport in poll.frame.rows}


def invitation_made(
    poll: Poll,
    agent: Agent,
    place: tuple[str, sampling.Place],
    transports: Mapping[str, str],
    now: datetime,
) -> PollInvitation:
    """An invitation that is not stored yet."""
    assert poll.seed is not None, poll.id
    stratum, drawn = place
    return PollInvitation(
        id=new_row_id(now),
        poll=poll,
        agent=agent,
        stratum=stratum,
        base_model=str(agent.labels.get("base_model", ""))[:200],
        ticket=drawn.ticket,
        option_order=sampling.option_order(
            seed=bytes(poll.seed), agent_id=drawn.agent_id, options=poll.options
        ),
        transport=transports[drawn.agent_id],
    )


# --- open


def poll_open(*, poll_id: UUID, actor: str, now: datetime) -> Poll:
    """Take answers from now on; invitations to endpoints are due at once.

    The commitment has announced it, so it leaves no entry of the poll; a person who does it is on record.
    """
    with transaction.atomic():
        poll = locked(poll_id)
        if poll.state in _DONE["open"]:
            return poll
        if poll.state != State.DRAWN:
            raise _refuse(poll, "open")
        poll.state, poll.opened_at = State.OPEN, now
        poll.save(update_fields=["state", "opened_at"])
        invitations_due(poll.invitations.all(), now)
        act_of_person(
            organisation=poll.organisation, actor=actor, action="polls.open", object_=f"poll:{poll.id}",
            now=now,
        )  # fmt: skip
    return poll


def invitations_due(invitations: QuerySet[PollInvitation], now: datetime) -> None:
    """Let endpoints be called; whoever asks by hand has the question before him at once."""
    invitations.filter(transport=Transport.WEBHOOK).update(next_attempt_at=now)
    invitations.filter(transport=Transport.MANUAL).update(state=InvitationState.DELIVERED, delivered_at=now)


# --- close and cancel


def poll_close(*, poll_id: UUID, actor: str, now: datetime, reason: str | None = None) -> Poll:
    """Open the answers, count them, and say what came of it: one entry, then nothing changes any more."""
    with transaction.atomic():
        poll = locked(poll_id)
        if poll.state == State.CLOSED:
            return poll
        if poll.state != State.OPEN:
            raise _refuse(poll, "close")
        assert poll.deadline is not None, poll.id
        early = now < poll.deadline
        if early:
            demand_reason(reason)
        elif now < poll.deadline + GRACE:
            raise Conflict("poll_state", "answers of the last seconds are still being checked", retry_after=5)
        asked, counted = _opened(poll)
        found = results.result_of(terms_of(poll), asked)
        hashes = [bytes(response.response_sha256).hex() for response in counted]
        stmt = _closing(poll, actor, now, outcome="closed", early=early, reason=reason) | {
            "tally": [{"option": option, "count": found["tally"][option]} for option in poll.options],
            "silence": found["silence"],
            "estimates": results.ledger_estimates(found),
            "responses_root": answers.responses_root(hashes),
            "responses_file_sha256": sha256(selectors.response_lines(counted)).hexdigest(),
            "inconclusive": found["inconclusive"],
        }
        poll.state, poll.results, poll.early = State.CLOSED, found, early
        poll.inconclusive, poll.responses_root = found["inconclusive"], stmt["responses_root"]
        poll.wrapped_key = None
        _finish(poll, stmt, now, reason)
    return poll


def poll_cancel(*, poll_id: UUID, actor: str, now: datetime, reason: str) -> Poll:
    """Give up before the end. Answers that came stay sealed for ever: their key goes."""
    demand_reason(reason)
    with transaction.atomic():
        poll = locked(poll_id)
        if poll.state == State.CANCELLED:
            return poll
        if poll.state == State.CLOSED:
            raise _refuse(poll, "be cancelled")
        was_draft = poll.state == State.DRAFT
        poll.state, poll.wrapped_key, poll.wrapped_secret = State.CANCELLED, None, None
        if was_draft:
            poll.reason, poll.closed_at = reason, now
            poll.save()
            return poll
        received = PollResponse.objects.filter(poll=poll, counted=True).order_by("seq")
        hashes = [bytes(one).hex() for one in received.values_list("response_sha256", flat=True)]
        stmt = _closing(poll, actor, now, outcome="cancelled", early=True, reason=reason) | {
            "tally": [],
            "silence": dict.fromkeys(SILENCE, 0),
            "estimates": [],
            "responses_root": answers.responses_root(hashes),
            "responses_file_sha256": sha256(b"").hexdigest(),
            "inconclusive": True,
        }
        poll.early, poll.inconclusive, poll.responses_root = True, True, stmt["responses_root"]
        _finish(poll, stmt, now, reason)
    return poll


def demand_reason(reason: str | None) -> None:
    if detail := short_reason(reason or ""):
        raise BadRequest("value_invalid", detail, pointer="/reason")


def terms_of(poll: Poll) -> Terms:
    quorum = Quorum(
        poll.quorum["min_responses"],
        poll.quorum["min_response_rate_pct"],
        tuple((one["stratum"], one["min_responses"]) for one in poll.quorum.get("strata", [])),
    )
    strata = {one["stratum"]: one["size"] for one in poll.strata}
    return Terms(tuple(poll.options), strata, poll.estimator, poll.confidence_pct, quorum)


def _opened(poll: Poll) -> tuple[list[Asked], list[PollResponse]]:
    """Decrypt every answer and classify every invitation; gives the counted answers in ledger order."""
    key = blind.answer_key(poll)
    rows = list(
        PollResponse.objects.filter(poll=poll)
        .select_related("invitation", "invitation__agent")
        .order_by("seq")
    )
    for response in rows:
        response.document = blind.unseal(key, response.id, bytes(response.sealed or b""))
        response.sealed = None
    PollResponse.objects.bulk_update(rows, ["document", "sealed"], batch_size=BATCH)
    counted = {one.invitation_id: one for one in rows if one.counted}
    late = {one.invitation_id for one in rows if one.late}
    asked, changed = [], []
    for invitation in poll.invitations.select_related("agent").order_by("id"):
        response_ = counted.get(invitation.id)
        silence = None if response_ is not None else silence_of(invitation, is_late=invitation.id in late)
        payload = {} if response_ is None else (response_.document or {})["payload"]
        asked.append(
            Asked(
                invitation.stratum,
                choice=payload.get("choice"),
                silence=silence,
                base_model=invitation.base_model or None,
                is_manual=response_ is not None and response_.entered_by is not None,
                rationale=payload.get("rationale", ""),
                agent_id=invitation.agent.slug,
            )
        )
        if invitation.state in {InvitationState.PENDING, InvitationState.DELIVERED}:
            was_told = invitation.delivered_at is not None
            invitation.state = InvitationState.SILENT if was_told else InvitationState.UNREACHABLE
            changed.append(invitation)
    PollInvitation.objects.bulk_update(changed, ["state"], batch_size=BATCH)
    return asked, [one for one in rows if one.counted]


def silence_of(invitation: PollInvitation, *, is_late: bool) -> str:
    """Name the one class of an invitation without a counted answer (POLLS section 5)."""
    if invitation.state == InvitationState.DECLINED:
        return "declined"
    if is_late:
        return "late"
    if invitation.refused_answers:
        return "invalid"
    return "unreachable" if invitation.delivered_at is None else "silent"


def _closing(
    poll: Poll, actor: str, now: datetime, *, outcome: str, early: bool, reason: str | None
) -> dict[str, Any]:
    stmt = _statement(poll, CLOSED, actor, now) | {"outcome": outcome, "early": early}
    return stmt | ({"reason": reason} if early and reason else {})


def _finish(poll: Poll, stmt: dict[str, Any], now: datetime, reason: str | None) -> None:
    poll.closed_id, poll.closed_at = UUID(stmt["id"]), now
    poll.reason = reason or "" if stmt["early"] else ""
    poll.save()
    TransparencyLedger(selectors.log_of(poll)).append_statement(stmt, now=now)
    states = selectors.states_of(poll)
    transaction.on_commit(lambda: _count(stmt["outcome"], states))


def _count(outcome: str, states: Mapping[str, int]) -> None:
    metrics.POLLS.labels(outcome=outcome).inc()
    for state, number in states.items():
        metrics.INVITATIONS.labels(state=state).inc(number)


def _statement(poll: Poll, v: str, actor: str, now: datetime) -> dict[str, Any]:
    return {
        "v": v,
        "id": new_uuid7(now),
        "org": poll.organisation.slug,
        "ts": format_time(now),
        "actor": actor,
        "poll_id": str(poll.id),
    }


def share_lock(poll_id: UUID) -> None:
    """Keep the poll from being closed until the caller commits; answers do not hinder each other."""
    assert connection.in_atomic_block
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM polls_poll WHERE id = %s FOR SHARE", (poll_id,))
