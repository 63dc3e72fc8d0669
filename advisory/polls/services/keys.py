"""Keys of polls that have not ended follow when the key encryption key is rotated (SECURITY section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisory.polls.models import Poll
from advisory.polls.selectors.console import AT_WORK
from advisory.polls.services import blind
from ledger.services.rewrap import Holder, holder_add

if TYPE_CHECKING:
    from django.db.models import QuerySet


def _waiting(current: str) -> QuerySet[Poll]:
    return Poll.objects.filter(state__in=AT_WORK).exclude(kek_id__in=("", current))


holder_add(Holder("poll", ("wrapped_secret", "wrapped_key"), _waiting, blind.labels_of))
