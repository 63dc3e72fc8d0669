"""What the record page reads: the statement, what it refers to, what refers to it, and its neighbours."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ecp_project.kernel.errors import NotFound
from ledger.core.columns import DECISION
from ledger.core.entry import EntrySyntax, parse_entry, stmt_digest
from ledger.core.merkle import ProofInvalid
from ledger.core.note import split_note
from ledger.models import Checkpoint, Cosignature, Entry
from ledger.selectors.console import headline, kind_in_words, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from ledger.core.entry import Entry as ParsedEntry
    from ledger.selectors.console import Viewer

LINES = 200
WITNESSES_READ = 64
# Members that have a place of their own on the page; of other kinds everything else is listed by name.
_PLACED = frozenset({"v", "id", "org", "ts", "explanation", "text", "reason", "sealed", "target"})
# How a summary gives the size of what it does not show.
_SIZES = {
    "chars": gettext_noop("a text, characters: %(size)s"),
    "items": gettext_noop("a list, items: %(size)s"),
    "members": gettext_noop("a group, fields: %(size)s"),
}
_BAND = re.compile(r"(-?[0-9]{1,19})\.\.(-?[0-9]{1,19})")
# How staff entries name the record that they act on.
_OBJECTS = ("decision", "record", "entry")


@dataclass(frozen=True, slots=True)
class Line:
    """One entry that speaks of the record; `stmt` is empty when its bytes are no entry any more."""

    entry: Entry
    stmt: Mapping[str, Any]

    @property
    def text(self) -> str:
        """Its words; those of a decision are the explanation."""
        return (
            headline(self.stmt) if self.stmt.get("v") != "ecp.staff/1" else str(self.stmt.get("reason", ""))
        )


@dataclass(frozen=True, slots=True)
class Timeline:
    """At most 200 lines, oldest first; `older` is the entry before which the earlier ones are found."""

    lines: Sequence[Line]
    older: int | None


@dataclass(frozen=True, slots=True)
class Signed:
    """The first checkpoint that covers the record: size, time, the key that signed, who cosigned since."""

    size: int
    created: datetime
    key_id: str
    witnesses: Sequence[tuple[str, datetime]]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Entry ids before and after; None at either end, and where the reader does not see the whole log."""

    older: int | None
    newer: int | None
    agent_older: int | None
    agent_newer: int | None


@dataclass(frozen=True, slots=True)
class Record:
    """All that the record page shows, except private values and ticks.

    `stmt` is None when the stored bytes are no entry any more; `raw` shows them in any case. `erased` holds
    the pointers of sealed parts that an erasure entry names, with the time of that entry.
    """

    entry: Entry
    what: str
    stmt: Mapping[str, Any] | None
    raw: str
    size_bytes: int
    stmt_digest: str
    prev: str
    text: str
    summary: Sequence[tuple[str, str]]
    members: Sequence[tuple[str, str]]
    alternatives: Sequence[tuple[str, str]]
    sealed: Sequence[str]
    erased: Mapping[str, datetime]
    signed_by: Sequence[str]
    signed: Signed | None
    timeline: Timeline
    neighbours: Neighbours


def entry_seen(*, viewer: Viewer, entry_id: int, only_decisions: bool, kind: str = "") -> Entry:
    """The entry that a page or a download is about; 404 for what the person may not see."""
    rows = Entry.objects.filter(id=entry_id).select_related("log", "log__organisation", "log__head")
    if only_decisions:
        rows = rows.filter(kind=DECISION)
    if kind:
        rows = rows.filter(kind=kind)
    entry = visible(viewer, rows).first()
    if entry is None:
        raise NotFound("not_found", "there is no such record")
    return entry


def entry_before(entry: Entry) -> bytes:
    """Bytes of the entry that the chain leads back to.

    Who may read an entry may read these too: the API gives the public entries of the log to every role.
    """
    raw = Entry.objects.filter(id=entry.id - 1, log_id=entry.log_id).values_list("entry", flat=True).first()
    if raw is None:
        raise NotFound("not_found", "there is no entry before this one")
    return bytes(raw)


def record_of(
    *, viewer: Viewer, entry_id: int, only_decisions: bool, before: int | None = None, kind: str = ""
) -> Record:
    """`before` asks for the earlier lines of a long timeline."""
    entry = entry_seen(viewer=viewer, entry_id=entry_id, only_decisions=only_decisions, kind=kind)
    raw = bytes(entry.entry)
    try:
        parsed = parse_entry(raw)
    except EntrySyntax:
        parsed = None
    stmt: dict[str, Any] = parsed.stmt if parsed else {}
    signers = _signers(parsed)
    timeline = _timeline(viewer, entry, signers, before)
    return Record(
        entry=entry,
        what=kind_in_words(entry.kind, stmt) if parsed else entry.action or entry.kind,
        stmt=parsed.stmt if parsed else None,
        raw=raw.decode(errors="backslashreplace"),
        size_bytes=len(raw),
        stmt_digest=stmt_digest(parsed.stmt_raw) if parsed else "",
        prev=parsed.prev.hex() if parsed else "",
        text=_text(stmt),
        summary=[(name, value_in_words(value)) for name, value in stmt.get("context_summary", {}).items()],
        members=[(name, value_in_words(value)) for name, value in stmt.items() if name not in _PLACED]
        if entry.kind != DECISION
        else [],
        alternatives=[(other["option"], other["reason"]) for other in stmt.get("alternatives", [])],
        sealed=[part["ptr"] for part in stmt.get("sealed", [])],
        erased=_erased(entry) if stmt.get("sealed") else {},
        signed_by=signers,
        signed=_signed(entry),
        timeline=timeline,
        neighbours=_neighbours(viewer, entry),
    )


def _timeline(viewer: Viewer, entry: Entry, signers: Sequence[str], before: int | None) -> Timeline:
    """Entries that name this one, found through the search projection.

    Annotations by `target`, erasures by their parts, decisions by their references, acts of staff by what
    they were done to, keys by having signed it.
    """
    rows = _naming(entry, signers)
    assigned = viewer.agents.get(entry.log.organisation_id)
    if assigned is not None:
        rows = rows.filter(_is_for(assigned))
    if before is not None:
        rows = rows.filter(id__lt=before)
    found = list(rows.order_by("-id")[: LINES + 1])
    shown = found[:LINES][::-1]
    return Timeline([_line(row) for row in shown], shown[0].id if len(found) > LINES else None)


def lines_withheld(*, viewer: Viewer, record: Record) -> int:
    """How many entries name the record and are not for this person; at most as many as a timeline has."""
    assigned = viewer.agents.get(record.entry.log.organisation_id)
    if assigned is None:
        return 0
    hidden = _naming(record.entry, record.signed_by).exclude(_is_for(assigned))
    return len(hidden.order_by("-id").values_list("id", flat=True)[:LINES])


def _is_for(assigned: Iterable[str]) -> Q:
    """People and the system have no agent; what other agents say is not for who sees assigned ones only."""
    return Q(agent__in=assigned) | Q(agent__isnull=True)


def _naming(entry: Entry, signers: Sequence[str]) -> QuerySet[Entry]:
    uid = str(entry.uid)
    named: list[dict[str, Any]] = [{"target": uid}, {"parts": [{"id": uid}]}, {"refs": [{"id": uid}]}]
    named += [{"object": f"{kind}:{uid}"} for kind in _OBJECTS]
    named += [{"v": "ecp.key/1", "kid": kid} for kid in signers]
    names = Q()
    for body in named:
        names |= Q(search__body__contains=body)
    return Entry.objects.filter(names, log_id=entry.log_id)


def _line(row: Entry) -> Line:
    try:
        return Line(row, parse_entry(bytes(row.entry)).stmt)
    except EntrySyntax:
        return Line(row, {})


def _signed(entry: Entry) -> Signed | None:
    covering = Checkpoint.objects.filter(log_id=entry.log_id, size__gt=entry.seq).order_by("size").first()
    if covering is None:
        return None
    cosigned = Cosignature.objects.filter(log_id=entry.log_id, size__gt=entry.seq).order_by("size")
    witnesses: dict[str, datetime] = {}
    for row in cosigned[:WITNESSES_READ]:
        witnesses.setdefault(row.witness, row.ts)
    return Signed(
        covering.size, covering.created, signer_of(covering.note, entry.log.origin), [*witnesses.items()]
    )


def signer_of(note: str, origin: str) -> str:
    """Key id in the signature line of the log; empty when the stored note has none."""
    try:
        _, lines = split_note(note)
    except ProofInvalid:
        return ""
    return next((key_id.hex() for name, key_id, _ in lines if name == origin), "")


def _neighbours(viewer: Viewer, entry: Entry) -> Neighbours:
    # Who sees assigned agents only would find a closed door at most neighbours.
    walks = entry.log.organisation_id not in viewer.agents
    return Neighbours(
        older=entry.id - 1 if walks and entry.seq > 0 else None,
        newer=entry.id + 1 if walks and entry.seq + 1 < entry.log.head.size else None,
        agent_older=_of_agent(entry, Q(seq__lt=entry.seq), "-seq"),
        agent_newer=_of_agent(entry, Q(seq__gt=entry.seq), "seq"),
    )


def _of_agent(entry: Entry, beyond: Q, order: str) -> int | None:
    """Nearest entry of the same agent on one side."""
    if not entry.agent:
        return None
    rows = Entry.objects.filter(beyond, log_id=entry.log_id, agent=entry.agent).order_by(order)
    return rows.values_list("id", flat=True).first()


def _erased(entry: Entry) -> dict[str, datetime]:
    """When each part was erased; asked by itself, as the timeline may not reach back that far."""
    uid = str(entry.uid)
    named = Q(search__body__contains={"parts": [{"id": uid}]})
    rows = Entry.objects.filter(named, log_id=entry.log_id, kind="ecp.erasure/1").order_by("-id")[:LINES]
    return {
        part["ptr"]: row.rcvd
        for row in rows
        for part in _line(row).stmt.get("parts", [])
        if part["id"] == uid
    }


def _signers(parsed: ParsedEntry | None) -> list[str]:
    return [signature.kid for signature in parsed.sigs] if parsed else []


def _text(stmt: Mapping[str, Any]) -> str:
    """The words of an entry: explanation of a decision, text or reason of another kind."""
    return next((stmt[name] for name in ("explanation", "text", "reason") if name in stmt), "")


def value_in_words(value: Any) -> str:
    """A member for people: what is sealed is called sealed, sizes and bands are spelt out."""
    if value is None or type(value) is bool:
        return {None: _("nothing"), True: _("yes"), False: _("no")}[value]
    if value == {"sealed": True}:
        return _("sealed")
    if isinstance(value, dict) and len(value) == 1 and value.keys() <= _SIZES.keys():
        (name, size), *_rest = value.items()
        return _(_SIZES[name]) % {"size": _band_in_words(str(size))}
    return _band_in_words(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _band_in_words(text: str) -> str:
    """`100..1000`, as a context policy writes a number that it does not show."""
    band = _BAND.fullmatch(text)
    return (
        _("%(low)s to %(high)s") % {"low": f"{int(band[1]):,}", "high": f"{int(band[2]):,}"} if band else text
    )
