"""A log that anybody may read, or only its organisation: an act on record (SECURITY section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from ecp_project.kernel.errors import BadRequest, Conflict
from ledger.core.fields import MIN_VISIBLE, short_reason, visible_characters
from ledger.models import Log
from ledger.services.ledger import lock_head
from ledger.services.staff import staff_act

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.services.ledger import Receipt


def log_publish(*, log: Log, is_public: bool, reason: str, actor: str, now: datetime) -> Receipt:
    """Open a log to everybody, or close it again; copies that were taken meanwhile stay where they are."""
    if detail := short_reason(reason):
        seen = visible_characters(reason)
        raise BadRequest("explanation_too_short", detail, visible=seen, required=MIN_VISIBLE)
    with transaction.atomic():
        lock_head(log)  # appends lock it before the log's row
        current = Log.objects.select_for_update().get(pk=log.pk)
        if current.is_public == is_public:
            raise Conflict("id_reused", f"{log.slug} is {'public' if is_public else 'private'} already")
        Log.objects.filter(pk=log.pk).update(is_public=is_public)
        return staff_act(
            organisation=log.organisation,
            actor=actor,
            action="log.publish" if is_public else "log.unpublish",
            object_=f"log:{log.slug}",
            reason=reason,
            now=now,
        )
