"""What is held about a data subject as a ZIP to hand to that person (CONSOLE section 3).

    README.txt                         what this is, and how to check it
    records.txt                        every record in words, with the person's values
    records/<log>/<position>/entry.json   the public entry, byte for byte
    records/<log>/<position>/<n>.json     one private value with the opening of its commitment
    MANIFEST.json MANIFEST.sha256      as in an evidence pack

The same records give the same bytes: no clock, no name, not even the handle. Values of other people that
stand in the same records are left out, and counted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from django.db import transaction
from django.template.loader import render_to_string
from django.utils import translation

from ecp_project.console.reveal import reveal_records
from ecp_project.kernel.canonical import encode, encode_any
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import Conflict, Invalid
from ecp_project.kernel.signing import b64url
from ledger.core import pack
from ledger.core.entry import parse_entry
from ledger.selectors.subjects import MAX_RECORDS
from ledger.services.staff import staff_act
from ledger.services.subjects import subject_holding, subject_parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any

    from ecp_project.console.reveal import Opened
    from ledger.models import Log
    from ledger.selectors.subjects import Held

VERSION = "ecp.access/1"


@dataclass(frozen=True, slots=True)
class AccessPack:
    data: bytes
    records: int
    digest: str  # SHA-256 of its MANIFEST.json


@dataclass(frozen=True, slots=True)
class Told:
    """A record in words for `records.txt`."""

    log: str
    seq: int
    at: str
    stmt: dict[str, Any]
    values: Sequence[tuple[str, str]]
    others: int


def access_pack(*, log: Log, opened: Opened, handle: str, now: datetime) -> AccessPack:
    """The pack, once its records are on the session's list and its digest is on the log."""
    organisation = log.organisation
    held = subject_holding(organisation=organisation, handle=handle, now=now).records
    if len(held) > MAX_RECORDS:
        raise Invalid("range_too_large", f"A pack holds at most {MAX_RECORDS:,} records.")
    files = _files(held)
    digest = sha256(files[pack.MANIFEST]).hexdigest()
    with transaction.atomic():
        if reveal_records(opened=opened, entries=[row.entry for row in held], now=now) is None:
            raise Conflict("reveal_needed", "the session has ended; give a reason again")
        staff_act(
            organisation=organisation,
            actor=opened.session.actor,
            action="data_subject.pack",
            object_=f"reveal:{opened.session.pk}",
            now=now,
            detail={"manifest_sha256": digest, "records": len(held)},
        )
    return AccessPack(pack.zipped(files), len(held), digest)


def _files(held: Sequence[Held]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    told = []
    for row in held:
        entry, parts = row.entry, subject_parts(held=row)
        folder = f"records/{entry.log.slug}/{entry.seq}"
        stmt = parse_entry(bytes(entry.entry)).stmt
        files[f"{folder}/entry.json"] = bytes(entry.entry)
        for number, part in enumerate(parts, 1):
            document = {"ptr": part.ptr, "r": b64url(part.r), "value": json.loads(part.value_jcs)}
            files[f"{folder}/{number}.json"] = encode_any(document) + b"\n"
        values = [(part.ptr, _readable(part.value_jcs)) for part in parts]
        others = len(stmt.get("sealed", [])) - len(parts)
        told.append(Told(entry.log.slug, entry.seq, format_time(entry.rcvd), stmt, values, others))
    with translation.override("en"):
        files["README.txt"] = render_to_string("print/access_readme.txt", {"records": len(held)}).encode()
        files["records.txt"] = render_to_string("print/access_records.txt", {"records": told}).encode()
    listed = [
        {"bytes": len(files[path]), "path": path, "sha256": sha256(files[path]).hexdigest()}
        for path in sorted(files)
    ]
    manifest = encode({"files": listed, "records": len(held), "v": VERSION}) + b"\n"
    return {**files, pack.MANIFEST: manifest, pack.MANIFEST_DIGEST: pack.digest_line(manifest)}


def _readable(value_jcs: bytes) -> str:
    value = json.loads(value_jcs)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
