"""What a name leads to: id, position, leaf hash, root of a checkpoint, or an address with one of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from ledger.models import POSITIONS_PER_LOG, Checkpoint, Entry, Log
from ledger.selectors.console import log_state, visible
from ledger.selectors.matching import TIMEOUT_MS, in_time

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from ledger.selectors.console import Viewer

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_POSITION = re.compile(r"[0-9]{1,12}")
_ADDRESS = re.compile(r"(?:urn:|https?://|/)\S*", re.IGNORECASE)
# The last part of an address that the console's permalinks and record pages have.
_PLACE = re.compile(r"/l/(?P<log>[a-z0-9-]{1,64})/(?P<seq>[0-9]{1,12})/?$|/(?P<id>[0-9]{1,18})/change/?$")


@dataclass(frozen=True, slots=True)
class Found:
    """A record, or the log of a checkpoint with that root; neither when the text names nothing."""

    entry: Entry | None = None
    checkpoint_log: Log | None = None


def record_found(*, viewer: Viewer, text: str, slug: str) -> Found:
    """What `text` names among all that the person may see; positions are those of the log of `slug`."""
    text = text.strip()
    if _POSITION.fullmatch(text):
        state = log_state(viewer, slug)
        return Found(entry_at(viewer=viewer, slug=state.log.slug, seq=int(text)))
    if _HASH.fullmatch(text):
        return hash_found(viewer=viewer, digest=bytes.fromhex(text))
    if _UUID.fullmatch(text):
        return Found(entry_named(viewer=viewer, uid=UUID(text)))
    if _ADDRESS.fullmatch(text):
        return _addressed(viewer, text.split("?")[0].split("#")[0])
    return Found()


def _addressed(viewer: Viewer, address: str) -> Found:
    place = _PLACE.search(address)
    if place and place["log"]:
        return Found(entry_at(viewer=viewer, slug=place["log"], seq=int(place["seq"])))
    if place:
        return Found(_first(viewer, Entry.objects.filter(id=int(place["id"]))))
    if digest := _HASH.search(address):
        return hash_found(viewer=viewer, digest=bytes.fromhex(digest[0]))
    uid = _UUID.search(address)
    return Found(entry_named(viewer=viewer, uid=UUID(uid[0]))) if uid else Found()


def entry_named(*, viewer: Viewer, uid: UUID) -> Entry | None:
    return _first(viewer, Entry.objects.filter(uid=uid, log_id__in=_own_logs(viewer)))


def entry_at(*, viewer: Viewer, slug: str, seq: int) -> Entry | None:
    log = Log.objects.filter(slug=slug, organisation_id__in=viewer.roles).first()
    if log is None or seq >= POSITIONS_PER_LOG:
        return None
    return _first(viewer, Entry.objects.filter(id=log.id * POSITIONS_PER_LOG + seq))


def hash_found(*, viewer: Viewer, digest: bytes) -> Found:
    """A record by its leaf hash, else a log by the root of one of its checkpoints."""
    entry = _first(viewer, Entry.objects.filter(leaf_hash=digest))
    if entry is not None:
        return Found(entry)
    with in_time(TIMEOUT_MS):  # no index has the roots
        rows = Checkpoint.objects.filter(log_id__in=list(_own_logs(viewer)), root=digest)
        checkpoint = rows.select_related("log").first()
    return Found(checkpoint_log=checkpoint.log if checkpoint else None)


def _own_logs(viewer: Viewer) -> QuerySet[Log, int]:
    return Log.objects.filter(organisation_id__in=viewer.roles).values_list("id", flat=True)


def _first(viewer: Viewer, rows: QuerySet[Entry]) -> Entry | None:
    return visible(viewer, rows).order_by("id").first()
