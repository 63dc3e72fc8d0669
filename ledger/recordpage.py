"""What the record page shows besides the record: its story, private values, the form for notes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.core.columns import DECISION
from ledger.models import Role
from ledger.sentences import sentence
from ledger.services.annotations import MAY_WRITE_ALL_KINDS
from ledger.services.sealing import open_parts

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest

    from ecp_project.kernel.errors import EcpError
    from ledger.models import Entry
    from ledger.selectors.records import Line, Record

NOTE_KINDS = {
    "note": gettext_lazy("Note"),
    "correction": gettext_lazy("Correction"),
    "outcome": gettext_lazy("Outcome"),
}
OUTCOMES = {
    "success": gettext_lazy("success"),
    "partial": gettext_lazy("partial success"),
    "failure": gettext_lazy("failure"),
    "unknown": gettext_lazy("unknown"),
}


def kinds_for(role: str) -> list[tuple[str, Any]]:
    """What this role may write beside a record (SECURITY section 2); nothing for most."""
    if role in MAY_WRITE_ALL_KINDS:
        return list(NOTE_KINDS.items())
    return [("note", NOTE_KINDS["note"])] if role in {Role.AUDITOR, Role.MANUFACTURER} else []


@dataclass(slots=True)
class NoteForm:
    """What was written, and why it was not taken. The id makes sending it twice safe."""

    id_: str
    kind: str = "note"
    text: str = ""
    outcome: str = ""
    kinds: list[tuple[str, Any]] = field(default_factory=list)
    problem: EcpError | None = None

    outcomes = tuple(OUTCOMES.items())

    @classmethod
    def of(cls, request: HttpRequest) -> NoteForm:
        given = {name: str(request.POST.get(name, "")) for name in ("id", "kind", "text", "outcome")}
        # Browsers send line ends as CR LF, whatever was typed.
        text = given["text"].replace("\r\n", "\n").strip()
        return cls(given["id"] or new_uuid7(utc_now()), given["kind"], text, given["outcome"])

    @property
    def document(self) -> dict[str, Any]:
        status = {"status": self.outcome} if self.kind == "outcome" and self.outcome else {}
        return {"id": self.id_, "kind": self.kind, "text": self.text} | status

    @property
    def text_problem(self) -> EcpError | None:
        """The problem, when it is one of the text field."""
        return self.problem if self.problem and self.problem.pointer == "/text" else None


def record_url(entry: Entry) -> str:
    page = "decision" if entry.kind == DECISION else "entry"
    return reverse(f"admin:ledger_{page}_change", args=[entry.pk])


def public_path(entry: Entry) -> str:
    """Where the API gives the bytes of an entry to machines."""
    if entry.kind == DECISION:
        return reverse("decision-public", args=[entry.uid])
    return f"{reverse('log-entries', args=[entry.log.slug])}?start={entry.seq}&count=1"


@dataclass(frozen=True, slots=True)
class Told:
    """A line of the timeline; without an entry it is about a checkpoint."""

    at: datetime
    said: str
    text: str = ""
    entry: Entry | None = None
    url: str = ""


def told(record: Record) -> list[Told]:
    """Sentences, oldest first. How the record began stands where the earliest lines stand."""
    uid, timeline = str(record.entry.uid), record.timeline
    lines = [_told_line(line, uid) for line in timeline.lines]
    if timeline.older is not None:
        return lines
    begun = [Told(record.entry.rcvd, sentence(stmt=record.stmt or {}, about=uid), entry=record.entry)]
    if record.signed:
        signed = _("The log signed it: checkpoint over %(size)s entries")
        begun.append(Told(record.signed.created, signed % {"size": f"{record.signed.size:,}"}))
        begun += [
            Told(at, _("Witness %(name)s cosigned") % {"name": name}) for name, at in record.signed.witnesses
        ]
    return sorted([*begun, *lines], key=lambda line: line.at)


def _told_line(line: Line, uid: str) -> Told:
    said = sentence(stmt=line.stmt, about=uid)
    return Told(line.entry.rcvd, said, line.text, line.entry, record_url(line.entry))


def private_parts(record: Record) -> list[tuple[str, str | None, Any]]:
    """Pointer, value (None when it is gone or does not open), time of its erasure."""
    entry = record.entry
    try:
        opened = open_parts(log_id=entry.log_id, origin=entry.log.origin, uid=entry.uid)
    except ValueError:
        opened = []
    values = {part.ptr: _readable(json.loads(part.value_jcs)) for part in opened}
    return [(ptr, values.get(ptr), record.erased.get(ptr)) for ptr in record.sealed]


def _readable(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
