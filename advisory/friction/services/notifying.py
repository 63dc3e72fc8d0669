"""Telling people: `notify` steps and reminders, by mail or webhook, one row for each message (FRICTION 10.1).

A message is claimed before it is sent, by the number of its attempt, so that two workers never count one
twice; a worker that is killed has used one attempt up. What failed is shown beside the step, never hidden.
Messages to agents (`telling.py`) are sent from here too.
"""

from __future__ import annotations

import smtplib
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction

from advisory.friction.models import (
    FrictionNotice,
    NoticeState,
    NotificationTarget,
    Occasion,
    TargetKind,
)
from advisory.friction.selectors.words import step_words
from advisory.friction.services.telling import answer_send
from ecp_project.api import calls
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.ids import new_uuid7

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from advisory.friction.models import FrictionAdvice

NOTICE = "ecp.friction.notice/1"
MAX_ATTEMPTS = 6
FIRST_WAIT_S, MAX_WAIT_S = 5, 300
LEASE = timedelta(seconds=60)
SWEEP_LIMIT = 100


def first_notices(
    *, advice: FrictionAdvice, targets: Mapping[str, int], now: datetime
) -> list[dict[str, Any]]:
    """Messages for the `notify` steps of a new advice, stored with it; a standing bypass keeps them quiet.

    Columns of `FrictionNotice`; `targets` are the active ones by name.
    """
    if advice.standing_id is not None:
        return []
    return [
        notice
        for step in advice.result["steps"]
        if step["type"] == "notify"
        for notice in _notices(advice, step["n"], step["to"], Occasion.FIRST, targets, now)
    ]


def notices_add(
    *, advice: FrictionAdvice, n: int, names: Iterable[str], occasion: Occasion, now: datetime
) -> None:
    """One message for each name; what was added before stays as it is."""
    wanted = set(names)
    rows = NotificationTarget.objects.filter(
        organisation_id=advice.organisation_id, name__in=wanted, active=True
    )
    targets = dict(rows.values_list("name", "pk"))
    FrictionNotice.objects.bulk_create(
        (FrictionNotice(**one) for one in _notices(advice, n, wanted, occasion, targets, now)),
        ignore_conflicts=True,
    )


def _notices(  # noqa: PLR0917 - one kind of row, made in two places
    advice: FrictionAdvice,
    n: int,
    names: Iterable[str],
    occasion: Occasion,
    targets: Mapping[str, int],
    now: datetime,
) -> list[dict[str, Any]]:
    return [
        {
            "id": UUID(new_uuid7(now)),
            "advice_id": advice.pk,
            "n": n,
            "occasion": occasion,
            "target_name": name,
            "target_id": targets.get(name),
            "state": NoticeState.PENDING if name in targets else NoticeState.UNDELIVERABLE,
            "attempts": 0,
            "next_attempt_at": now if name in targets else None,
            "last_error": "",
            "created_at": now,
        }
        for name in sorted(set(names))
    ]


def notices_due(*, now: datetime) -> list[UUID]:
    rows = FrictionNotice.objects.filter(state=NoticeState.PENDING, next_attempt_at__lte=now)
    return list(rows.order_by("next_attempt_at").values_list("id", flat=True)[:SWEEP_LIMIT])


def notice_deliver(*, notice_id: UUID, clock: Callable[[], datetime]) -> None:
    """Make one attempt. A message that another worker has taken finds nothing to do."""
    notice = _claim(notice_id, clock())
    if notice is None:
        return
    if notice.target is None:
        outcome = answer_send(notice=notice, now=clock())
    else:
        send = _by_mail if notice.target.kind == TargetKind.MAIL else _by_webhook
        outcome = send(notice, notice.target, clock())
    _note(notice, outcome, clock())


def _claim(notice_id: UUID, now: datetime) -> FrictionNotice | None:
    with transaction.atomic():
        notice = (
            FrictionNotice.objects.select_for_update(of=("self",), skip_locked=True)
            .select_related("advice__organisation", "target", "outcome", "comment")
            .filter(pk=notice_id, state=NoticeState.PENDING, next_attempt_at__lte=now)
            .first()
        )
        if notice is None:
            return None
        if notice.attempts >= MAX_ATTEMPTS:  # the worker of the last one was killed before it could say so
            notice.state, notice.next_attempt_at, notice.last_error = NoticeState.FAILED, None, "worker_lost"
            notice.save(update_fields=["state", "next_attempt_at", "last_error"])
            return None
        is_for_agent = notice.occasion == Occasion.ANSWERED
        if not is_for_agent and (notice.target is None or not notice.target.active):
            notice.state, notice.next_attempt_at = NoticeState.UNDELIVERABLE, None
            notice.save(update_fields=["state", "next_attempt_at"])
            return None
        notice.attempts += 1
        notice.next_attempt_at = now + LEASE
        notice.save(update_fields=["attempts", "next_attempt_at"])
    return notice


def _note(notice: FrictionNotice, outcome: calls.Outcome, now: datetime) -> None:
    rows = FrictionNotice.objects.filter(pk=notice.pk, state=NoticeState.PENDING, attempts=notice.attempts)
    if outcome.is_delivered:
        rows.update(state=NoticeState.DELIVERED, delivered_at=now, next_attempt_at=None, last_error="")
    elif not outcome.may_retry or notice.attempts >= MAX_ATTEMPTS:
        rows.update(state=NoticeState.FAILED, next_attempt_at=None, last_error=outcome.error)
    else:
        wait = outcome.retry_after_s or FIRST_WAIT_S * 2**notice.attempts
        rows.update(next_attempt_at=now + timedelta(seconds=min(MAX_WAIT_S, wait)), last_error=outcome.error)


def page_of(notice: FrictionNotice) -> str:
    return f"{settings.ECP_BASE_URL}/console/friction/frictionadvice/{notice.advice_id}/change/"


def _step(notice: FrictionNotice) -> dict[str, Any]:
    found: dict[str, Any] = next(step for step in notice.advice.result["steps"] if step["n"] == notice.n)
    return found


def _by_mail(notice: FrictionNotice, target: NotificationTarget, now: datetime) -> calls.Outcome:
    """Nothing of the private context stands in a mail: the page shows it to those who may read it."""
    del now
    advice = notice.advice
    lines = (
        f"{advice.agent} asked for advice on {advice.action}.",
        f"Level: {advice.level}, score {advice.score}.",
        f"Step {notice.n}: {step_words(_step(notice))}.",
        f"Why you are told: {Occasion(notice.occasion).label}.",
        "",
        page_of(notice),
        "",
        "This is advice. It holds nobody up.",
    )
    mail = EmailMessage(
        subject=f"[ECP] {advice.level}: {advice.action} by {advice.agent}",
        body="\n".join(lines),
        to=[target.address],
        headers={"Message-ID": f"<{notice.pk}@ecp.invalid>"},
    )
    try:
        mail.send()
    except smtplib.SMTPRecipientsRefused:
        return calls.Outcome(is_delivered=False, error="mail_refused")
    except (smtplib.SMTPException, OSError):
        return calls.Outcome(is_delivered=False, error="mail_failed", may_retry=True)
    return calls.Outcome(is_delivered=True)


def _by_webhook(notice: FrictionNotice, target: NotificationTarget, now: datetime) -> calls.Outcome:
    advice = notice.advice
    document = {
        "v": NOTICE,
        "id": str(notice.pk),
        "org": advice.organisation.slug,
        "occasion": notice.occasion,
        "advice": {
            "id": str(advice.pk),
            "agent": advice.agent,
            "action": advice.action,
            "level": advice.level,
            "score": advice.score,
            "evaluated_at": format_time(advice.evaluated_at),
        },
        "step": _step(notice),
        "url": page_of(notice),
    }
    return calls.call(url=target.address, document=document, idempotency_key=str(notice.pk), now=now)
