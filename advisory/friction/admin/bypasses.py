"""Bypasses: the inbox of those that wait for a verdict, and standing ones with their end (FRICTION 10)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from advisory.friction.admin.desk import FrictionAdmin, desk_of, given, only, only_reads, written
from advisory.friction.models import FrictionBypass, ReasonCode, StandingBypass, Verdict
from advisory.friction.selectors import advice as advices
from advisory.friction.selectors.shown import who
from advisory.friction.services.following import bypass_review, standing_end, standing_start
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, Conflict, EcpError, Unavailable
from ledger.core.fields import Text
from ledger.models import Role
from ledger.selectors.staffacts import names_of

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse

    from advisory.friction.admin.desk import Desk

READERS = (Role.VIEWER, Role.AUDITOR, Role.OPERATOR, Role.ADMIN)
STANDING_READERS = (Role.AUDITOR, Role.OPERATOR, Role.ADMIN)
REVIEWS = {
    "due": gettext_lazy("waiting for a review"),
    "overdue": gettext_lazy("overdue"),
    "done": gettext_lazy("reviewed"),
}
PAGE = 50
HOURS = range(1, 9)
_HEX = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOTE = Text(0, 2_000)
_NAMES = Text(0, 2_000)


@admin.register(FrictionBypass)
class BypassAdmin(FrictionAdmin):
    organisation_path = "advice__organisation"
    title = gettext_lazy("Bypasses")

    def pages(self) -> Any:
        return (
            ("", self.list_view, "changelist"),
            ("<uuid:uid>/change/", self.bypass_view, "change"),
        )

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """What waits first by when it falls due; everything else newest first."""
        only_reads(request)
        desk, asked = desk_of(request), given(request, "review", "reason", "before")
        only(desk, *READERS)
        if asked.get("review", "due") not in REVIEWS or asked.get("reason", "other") not in ReasonCode.values:
            raise BadRequest("bad_value", f"review is one of {', '.join(REVIEWS)}, reason a reason code")
        before = asked.get("before")
        if before is not None and not _HEX.fullmatch(before):
            raise BadRequest("invalid_cursor", _("This address does not lead into the list."))
        now = utc_now()
        rows = advices.bypass_inbox(
            scope=desk.scope, review=asked.get("review"), reason=asked.get("reason"), before=before,
            now=now, size=PAGE,
        )  # fmt: skip
        names = names_of(
            organisation_id=desk.scope.organisation_id, actors=[row.actor for row in rows[:PAGE]]
        )
        return self.shown(
            request,
            "friction/bypass_list.html",
            self.title,
            rows=[(who(row.actor, names), row) for row in rows[:PAGE]],
            older=rows[PAGE - 1].pk if len(rows) > PAGE else "",
            asked=asked,
            reviews=REVIEWS,
            reasons=ReasonCode.choices,
            slug=desk.slug,
            now=now,
        )

    def bypass_view(self, request: HttpRequest, uid: UUID) -> HttpResponse:
        """GET: one bypass. POST: the verdict of a person who is not its actor."""
        desk = desk_of(request, self.organisation_id_of(request, uid))
        only(desk, *READERS)
        row = advices.bypass_of(scope=desk.scope, uid=uid)
        if request.method != "POST":
            only_reads(request)
            return self._page(request, desk, row)
        only(desk, Role.AUDITOR)
        try:
            note = written(request, "note")
            _NOTE.check(note)
            bypass_review(
                log=desk.log, bypass=row, verdict=_verdict(written(request, "verdict")), note=note,
                actor=desk.actor, now=utc_now(),
            )  # fmt: skip
        except (BadRequest, Conflict, Unavailable) as problem:
            return self._page(request, desk, row, problem)
        messages.success(request, _("The verdict is on the log."))
        return HttpResponseRedirect(request.path)

    def _page(
        self, request: HttpRequest, desk: Desk, row: FrictionBypass, problem: EcpError | None = None
    ) -> HttpResponse:
        actors = [row.actor, row.reviewed_by]
        names = names_of(organisation_id=desk.scope.organisation_id, actors=actors)
        return self.shown(
            request,
            "friction/bypass.html",
            _("Bypass by %(who)s") % {"who": who(row.actor, names)},
            problem,
            row=row,
            who=who(row.actor, names),
            reviewed_by=who(row.reviewed_by, names) if row.reviewed_by else "",
            may_review=desk.role == Role.AUDITOR and not row.review_verdict and row.actor != desk.actor,
            verdicts=Verdict.choices,
            list_title=self.title,
            slug=desk.slug,
            now=utc_now(),
        )


def _verdict(text: str) -> Verdict:
    try:
        return Verdict(text)
    except ValueError:
        raise BadRequest("bad_value", _("Choose a verdict."), pointer="/verdict") from None


@admin.register(StandingBypass)
class StandingAdmin(FrictionAdmin):
    title = gettext_lazy("Standing bypasses")

    def pages(self) -> Any:
        return (("", self.list_view, "changelist"),)

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """GET: those that run, with their end, and past ones. POST: start one, or end one now."""
        desk = desk_of(request)
        only(desk, *STANDING_READERS)
        if request.method != "POST":
            only_reads(request)
            given(request)
            return self._page(request, desk)
        only(desk, Role.OPERATOR)
        try:
            if ends := written(request, "end"):
                self._end(desk, ends)
            else:
                _start(request, desk)
        except (BadRequest, Conflict, Unavailable) as problem:
            return self._page(request, desk, problem)
        messages.success(request, _("Ended.") if ends else _("Started. It ends by itself."))
        return HttpResponseRedirect(f"{reverse('admin:friction_standingbypass_changelist')}?log={desk.slug}")

    def _end(self, desk: Desk, text: str) -> None:
        if not _HEX.fullmatch(text):
            raise BadRequest("bad_value", _("Say which standing bypass ends."))
        standing_end(
            log=desk.log, standing=advices.standing_of(scope=desk.scope, uid=text), actor=desk.actor,
            now=utc_now(),
        )  # fmt: skip

    def _page(self, request: HttpRequest, desk: Desk, problem: EcpError | None = None) -> HttpResponse:
        now = utc_now()
        rows = list(advices.standing_bypasses(scope=desk.scope).order_by("-starts_at", "-pk")[:200])
        names = names_of(organisation_id=desk.scope.organisation_id, actors=[row.actor for row in rows])
        return self.shown(
            request,
            "friction/standing.html",
            self.title,
            problem,
            rows=[
                {
                    "row": row,
                    "who": who(row.actor, names),
                    "scope": advices.standing_scope(row),
                    "left": row.expires_at - now if row.ended_at is None and row.expires_at > now else None,
                }
                for row in rows
            ],
            hours=HOURS,
            may_act=desk.role == Role.OPERATOR,
            slug=desk.slug,
        )


def _start(request: HttpRequest, desk: Desk) -> None:
    hours = written(request, "hours")
    if not hours:
        raise BadRequest("expiry_required", pointer="/hours")
    if hours not in set(map(str, HOURS)):
        raise BadRequest("expiry_too_far", _("A standing bypass lasts 1 to 8 hours."), pointer="/hours")
    now = utc_now()
    reason = written(request, "reason")
    _NOTE.check(reason)
    standing_start(
        log=desk.log, rules=_names(request, "rules"), agents=_names(request, "agents"),
        actions=_names(request, "actions"), reason_text=reason, expires_at=now + timedelta(hours=int(hours)),
        actor=desk.actor, now=now,
    )  # fmt: skip


def _names(request: HttpRequest, name: str) -> list[str]:
    """Names parted by commas or blanks; those of rules, agents and actions hold neither."""
    text = written(request, name)
    _NAMES.check(text)
    found = sorted(set(re.split(r"[\s,]+", text)) - {""})
    longest = {"rules": 16, "agents": 64, "actions": 128}[name]
    if any(len(one) > longest for one in found):
        raise BadRequest("bad_value", _("A name is too long."), pointer=f"/{name}")
    return found
