"""Working sessions in which private values are shown, for a reason that is on the log (CONSOLE section 2).

Two `ecp.staff/1` entries belong to each: `reveal.begin` with the reason, and `reveal.end` with the number of
records opened and the SHA-256 of their list. A record is on the list before its values are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Count, Exists, OuterRef

from ecp_project.console.models import REVEAL_LASTS, EndedBy, Reveal, RevealSession
from ecp_project.kernel.errors import BadRequest, NotFound, PermissionDenied, Unavailable
from ledger.core.fields import Explained
from ledger.models import POSITIONS_PER_LOG, Log, Role
from ledger.services.staff import staff_act

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from django.contrib.auth.models import User

    from ledger.models import Entry
    from ledger.selectors.console import Viewer

REASON = Explained(1_000)
SHOWN = 50


@dataclass(frozen=True, slots=True)
class Opened:
    """An open working session, how many records it has shown, and whether one asked about is among them."""

    session: RevealSession
    records: int
    has_this: bool = False


def sign_in_of(session_key: str | None) -> str:
    """Names a sign-in without keeping the key that would let somebody take it over."""
    return sha256(f"ecp-reveal/v1\n{session_key or ''}".encode()).hexdigest()


def reason_checked(text: str) -> str:
    """The reason as it goes on the log; BadRequest points to the field."""
    reason = text.replace("\r\n", "\n").strip()
    try:
        REASON.check(reason)
    except BadRequest as problem:
        problem.pointer = "/reason"
        raise
    return reason


# --- reading


def reveal_open(
    *, person: User, sign_in: str, organisation_id: int, now: datetime, entry_id: int = 0
) -> Opened | None:
    """The session that is open for this sign-in; one query."""
    here = Reveal.objects.filter(session=OuterRef("pk"), entry_id=entry_id)
    rows = RevealSession.objects.filter(
        person=person,
        sign_in=sign_in,
        organisation_id=organisation_id,
        ended_at__isnull=True,
        ends_at__gt=now,
    )
    found = rows.annotate(shown=Count("reveals"), has_this=Exists(here)).first()
    return None if found is None else Opened(found, found.shown, found.has_this)


def reveal_page(*, viewer: Viewer, person: User) -> list[RevealSession]:
    """The newest sessions: all of an organisation for its auditors and admins, else one's own."""
    whole = viewer.organisations_as(Role.AUDITOR, Role.ADMIN)
    rows = RevealSession.objects.filter(organisation_id__in=whole) | RevealSession.objects.filter(
        organisation_id__in=viewer.organisations_as(Role.OPERATOR), person=person
    )
    return list(rows.select_related("organisation", "person").order_by("-began_at")[:SHOWN])


def reveal_list(*, viewer: Viewer, person: User, session_id: UUID) -> bytes:
    """The bytes behind `list_sha256`, for whoever may see the session. 404 for all others."""
    session = RevealSession.objects.filter(id=session_id).first()
    if session is not None:
        role = viewer.roles.get(session.organisation_id)
        if role in {Role.VIEWER, Role.MANUFACTURER}:
            raise PermissionDenied("role_missing", "auditors and admins see these lists, operators their own")
        own = role == Role.OPERATOR and session.person_id == person.pk
        if own or role in {Role.AUDITOR, Role.ADMIN}:
            return _list_of(session)
    raise NotFound("not_found", "there is no such session")


# --- acting


def reveal_begin(
    *, viewer: Viewer, person: User, sign_in: str, log: Log, reason: str, now: datetime
) -> RevealSession:
    """Open a session of at most eight hours; while one is open, that one."""
    organisation = log.organisation
    if not viewer.may_open(organisation.pk):
        raise PermissionDenied("role_missing", "private values are for auditors and operators")
    _end_overdue(organisation.pk, sign_in, now)
    said = reason_checked(reason)
    actor = f"staff:{viewer.pseudonyms[organisation.pk]}"
    with transaction.atomic():
        fresh = RevealSession(
            organisation=organisation,
            person=person,
            actor=actor,
            sign_in=sign_in,
            reason=said,
            began_at=now,
            ends_at=now + REVEAL_LASTS,
        )
        # Two presses of the button at once make one session: the second waits for the first.
        RevealSession.objects.bulk_create([fresh], ignore_conflicts=True)
        session = RevealSession.objects.get(organisation=organisation, sign_in=sign_in, ended_at__isnull=True)
        if session.pk == fresh.pk:
            staff_act(
                organisation=organisation,
                actor=actor,
                action="reveal.begin",
                object_=f"reveal:{session.pk}",
                reason=said,
                now=now,
            )
    return session


def reveal_records(*, opened: Opened, entries: Iterable[Entry], now: datetime) -> Opened | None:
    """Put records that it has not shown yet on the session's list.

    None when the session has ended meanwhile, and nothing may be shown.
    """
    with transaction.atomic():
        session = RevealSession.objects.select_for_update().get(pk=opened.session.pk)
        if session.ended_at is not None:
            return None
        rows = [Reveal(session=session, entry_id=entry.pk, uid=entry.uid, at=now) for entry in entries]
        Reveal.objects.bulk_create(rows, ignore_conflicts=True)
    return Opened(session, opened.records + len(rows), has_this=True)


def reveal_end(*, session_id: UUID, ended_by: EndedBy, now: datetime) -> None:
    """End a session at once; its entry follows as soon as the log takes one."""
    with transaction.atomic():
        session = RevealSession.objects.select_for_update().get(pk=session_id)
        if session.ended_at is not None:
            return
        found = _list_of(session)
        session.ended_at, session.ended_by = now, ended_by
        session.records, session.digest = found.count(b"\n"), sha256(found).hexdigest()
        session.save()
    try:
        _record_end(session_id, now)
    except Unavailable:
        return  # `reveal_sweep` records it when the log takes entries again


def reveal_end_own(*, person: User, sign_in: str, ended_by: EndedBy, now: datetime) -> int:
    """End what is open in this sign-in; how many that were."""
    rows = RevealSession.objects.filter(person=person, sign_in=sign_in, ended_at__isnull=True)
    found = list(rows.values_list("id", flat=True))
    for session_id in found:
        reveal_end(session_id=session_id, ended_by=ended_by, now=now)
    return len(found)


def reveal_sweep(*, now: datetime) -> int:
    """End what is older than eight hours, and record the ends that the log did not take; how many entries."""
    overdue = RevealSession.objects.filter(ended_at__isnull=True, ends_at__lte=now)
    for session_id in list(overdue.values_list("id", flat=True)):
        reveal_end(session_id=session_id, ended_by=EndedBy.TIME, now=now)
    waiting = RevealSession.objects.filter(ended_at__isnull=False, recorded_at__isnull=True)
    done = 0
    for session_id in list(waiting.order_by("ended_at").values_list("id", flat=True)):
        try:
            done += _record_end(session_id, now)
        except Unavailable:
            continue  # a halted log keeps no other organisation waiting
    return done


def _end_overdue(organisation_id: int, sign_in: str, now: datetime) -> None:
    """A session whose time is over ends before the next one begins, should the task not have come by yet."""
    rows = RevealSession.objects.filter(
        organisation_id=organisation_id, sign_in=sign_in, ended_at__isnull=True, ends_at__lte=now
    )
    for session_id in rows.values_list("id", flat=True):
        reveal_end(session_id=session_id, ended_by=EndedBy.TIME, now=now)


def _record_end(session_id: UUID, now: datetime) -> bool:
    with transaction.atomic():
        session = (
            RevealSession.objects.select_for_update(of=("self",))
            .select_related("organisation")
            .get(pk=session_id)
        )
        if session.recorded_at is not None:
            return False
        session.recorded_at = now
        session.save()
        staff_act(
            organisation=session.organisation,
            actor="system:reveal" if session.ended_by == EndedBy.TIME else session.actor,
            action="reveal.end",
            object_=f"reveal:{session.pk}",
            now=now,
            detail={
                "ended_by": session.ended_by,
                "list_sha256": session.digest,
                "records": session.records,
            },
        )
    return True


def _list_of(session: RevealSession) -> bytes:
    """One line for each record, `<log> <position> <id>`, ordered by log and position."""
    rows: Sequence[tuple[int, UUID]] = list(
        session.reveals.order_by("entry_id").values_list("entry_id", "uid")
    )
    ids = {entry_id // POSITIONS_PER_LOG for entry_id, _uid in rows}
    slugs = dict(Log.objects.filter(id__in=ids).values_list("id", "slug"))
    return "".join(
        f"{slugs[entry_id // POSITIONS_PER_LOG]} {entry_id % POSITIONS_PER_LOG} {uid}\n"
        for entry_id, uid in rows
    ).encode()
