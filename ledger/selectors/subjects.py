"""What is held about one data subject: which records have private values under the person's key."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from django.db.models import BooleanField, Count, ExpressionWrapper, Q

from ecp_project.kernel.errors import NotFound
from ledger.models import Entry, ErasureRequest, Log, SealedPart, SubjectKey

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from django.db.models import QuerySet

    from ledger.selectors.entries import OrgScope

OPEN = Q(run__isnull=True, withdrawn_at__isnull=True)
MAX_RECORDS = 5_000
MAX_PARTS = 64 * MAX_RECORDS  # a statement has at most 64 sealed parts


@dataclass(frozen=True, slots=True)
class Held:
    """A record with the pointers of those of its private values that are this person's."""

    entry: Entry
    ptrs: Sequence[str]


@dataclass(frozen=True, slots=True)
class Holding:
    """Records in the order of the logs. Without a key nothing is held: never named, or erased."""

    key: SubjectKey | None
    records: Sequence[Held]
    request: ErasureRequest | None

    @property
    def values(self) -> int:
        return sum(len(held.ptrs) for held in self.records)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A request for erasure with what it would take now."""

    request: ErasureRequest
    records: int
    values: int


def holding_of(*, scope: OrgScope, handle_mac: bytes) -> Holding:
    """At most `MAX_RECORDS` records and one more, which says that there are too many."""
    logs = Log.objects.filter(organisation_id=scope.organisation_id).in_bulk()
    key = SubjectKey.objects.filter(handle_mac=handle_mac).first()
    asked = ErasureRequest.objects.filter(OPEN, log_id__in=logs, handle_mac=handle_mac)
    return Holding(key, [] if key is None else _records(logs, key), asked.first())


def _records(logs: Mapping[int, Log], key: SubjectKey) -> list[Held]:
    parts = SealedPart.objects.filter(log_id__in=logs, subject_key=key).order_by("log_id", "uid", "ptr")
    rows = list(parts.values_list("log_id", "uid", "ptr")[:MAX_PARTS])
    grouped = {
        about: [ptr for *_about, ptr in found] for about, found in groupby(rows, key=lambda row: row[:2])
    }
    wanted = dict(list(grouped.items())[: MAX_RECORDS + 1])
    held = []
    for log_id, log in logs.items():
        uids = [uid for of_log, uid in wanted if of_log == log_id]
        for entry in Entry.objects.filter(log_id=log_id, uid__in=uids):
            entry.log = log
            held.append(Held(entry, wanted[log_id, entry.uid]))
    return sorted(held, key=lambda row: row.entry.pk)


def erasure_of(*, organisation_ids: Collection[int], pk: int) -> ErasureRequest:
    rows = ErasureRequest.objects.filter(pk=pk, log__organisation_id__in=organisation_ids)
    found = rows.select_related("log__organisation").first()
    if found is None:
        raise NotFound("not_found", "there is no such request")
    return found


def erasures_waiting(*, organisation_ids: Collection[int]) -> QuerySet[ErasureRequest]:
    """What somebody proposed and nobody has decided, the oldest first."""
    rows = ErasureRequest.objects.filter(OPEN, log__organisation_id__in=organisation_ids, approved_by="")
    return rows.order_by("requested_at", "pk")


def erasure_page(*, organisation_ids: Collection[int], size: int) -> list[Proposal]:
    """Requests for erasure, the open ones first and with what they would take now, then newest first."""
    rows = ErasureRequest.objects.filter(log__organisation_id__in=organisation_ids)
    rows = rows.alias(is_open=ExpressionWrapper(OPEN, output_field=BooleanField()))
    rows = rows.select_related("log__organisation").order_by("-is_open", "-requested_at", "-pk")
    found = list(rows[:size])
    waiting = [row for row in found if row.run is None and row.withdrawn_at is None]
    macs = [bytes(row.handle_mac) for row in waiting if row.handle_mac is not None]
    keys = SubjectKey.objects.filter(handle_mac__in=macs).annotate(
        records=Count("parts__uid", distinct=True), values=Count("parts__ptr")
    )
    persons = {
        bytes(mac): (records, values)
        for mac, records, values in keys.values_list("handle_mac", "records", "values")
        if mac is not None
    }
    uids = {row.uid: row.log_id for row in waiting if row.uid is not None}
    parts = SealedPart.objects.filter(log_id__in=set(uids.values()), uid__in=uids)
    counted = parts.values_list("log_id", "uid").annotate(values=Count("ptr"))
    decisions = {(log_id, uid): (1, values) for log_id, uid, values in counted}
    return [
        Proposal(
            row,
            *(
                persons.get(bytes(row.handle_mac), (0, 0))
                if row.handle_mac is not None
                else decisions.get((row.log_id, row.uid), (0, 0))
            ),
        )
        for row in found
    ]
