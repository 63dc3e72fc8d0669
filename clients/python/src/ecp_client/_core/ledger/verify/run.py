# A copy of ledger/core/verify/run.py, made by clients/python/copy_core.py; change it there.
"""A check that does not stream entries: its findings, counts and clock, and how it reads its inputs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from ecp_client._core.ledger.entry import Entry, EntrySyntax, parse_entry
from ecp_client._core.ledger.merkle import ProofInvalid
from ecp_client._core.ledger.note import Checkpoint, Verifier, open_checkpoint
from ecp_client._core.ledger.verify.report import Checked, Findings, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    Progress = Callable[[int, int], None]


class Run:
    """Findings, counts and clock of a check that does not stream entries."""

    def __init__(self, origin: str, subject: str) -> None:
        self.origin, self.subject = origin, subject
        self.findings, self.checked = Findings(), Checked()
        self.checkpoint: Checkpoint | None = None
        self.incomplete = ""
        self._started = time.perf_counter()

    def report(self) -> Report:
        return Report(
            origin=self.origin,
            size=self.checkpoint.size if self.checkpoint else 0,
            root=self.checkpoint.root if self.checkpoint else None,
            checked=self.checked,
            findings=self.findings,
            seconds=time.perf_counter() - self._started,
            incomplete=self.incomplete,
            subject=self.subject,
        )

    def open(self, note: str, verifier: Verifier) -> Checkpoint | None:
        try:
            self.checkpoint = open_checkpoint(note, verifier)
        except ProofInvalid as error:
            self.findings.add("checkpoint_signature", detail=str(error))
            return None
        self.checked.checkpoints += 1
        return self.checkpoint


def parse_for(raw: bytes, run: Run) -> Entry | None:
    try:
        entry = parse_entry(raw)
    except EntrySyntax as error:
        run.findings.add("entry_syntax", detail=str(error))
        return None
    if entry.log != run.origin:
        run.findings.add("origin_mismatch", seq=entry.seq, expected=run.origin, found=entry.log)
    return entry


def json_object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
