"""Each tampering of the shared vectors is found: same kind, same place, same range (LEDGER section 15)."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.signing import b64url_decode
from ledger.core.merkle import leaf_hash
from ledger.core.note import Verifier
from ledger.core.verify import LogVerifier, Report
from tests.shared import shared_path

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

WITH_TILES_AND_HEAD = "with_tiles_and_head"
ENTRIES_ONLY = "entries_and_checkpoints_only"


class TamperedLog:
    """The base log with the operations of one case applied."""

    def __init__(self, base: Path) -> None:
        self.vkey = (base / "log.vkey").read_text().strip()
        self.entries = (base / "entries.ndjson").read_bytes().split(b"\n")[:-1]
        self.notes = [(base / name).read_text() for name in ("checkpoint.old", "checkpoint")]
        self.tile0 = [bytes.fromhex(line) for line in (base / "tile0.hex").read_text().split()]
        self.head = (len(self.entries), leaf_hash(self.entries[-1]))

    def apply(self, op: dict[str, Any]) -> None:
        entry = base64.b64decode(op.get("entry_b64", ""))
        match op["op"]:
            case "replace":
                self.entries[op["seq"]] = entry
            case "insert":
                self.entries.insert(op["before"], entry)
            case "append":
                self.entries.append(entry)
            case "delete":
                del self.entries[op["seq"]]
            case "truncate":
                del self.entries[op["size"] :], self.tile0[op["size"] :]
                self.head = (op["size"], leaf_hash(self.entries[-1]))
            case "tile0":
                self.tile0[op["seq"]] = bytes.fromhex(op["hex"])
            case "head":
                self.head = (op["size"], bytes.fromhex(op["tip"]))
            case "checkpoint":
                self.notes[-1] = op["text"]
            case "extra_checkpoint":
                self.notes.append(op["text"])
            case other:
                raise AssertionError(other)

    def verify(self, anchors: dict[str, bytes], *, with_tiles_and_head: bool) -> Report:
        log = LogVerifier(Verifier(self.vkey), self.notes, anchors=anchors, signatures=True)
        for position, entry in enumerate(self.entries):
            has_leaf = with_tiles_and_head and position < len(self.tile0)
            log.feed(entry, self.tile0[position] if has_leaf else None)
        return log.finish(head=self.head if with_tiles_and_head else None)


def test_every_tampering_is_found_at_its_place(subtests: pytest.Subtests) -> None:
    cases = shared_path("vectors/ledger/cases")
    vectors = json.loads((cases / "tamper.json").read_text())
    anchors = {kid: b64url_decode(key) for kid, key in vectors["agent_key_anchors"].items()}
    for case in vectors["cases"]:
        for mode in (WITH_TILES_AND_HEAD, ENTRIES_ONLY):
            log = TamperedLog(cases / "tamper_base")
            for op in case["ops"]:
                log.apply(op)
            report = log.verify(anchors, with_tiles_and_head=mode == WITH_TILES_AND_HEAD).to_document()
            with subtests.test(case["name"], mode=mode):
                want = case[mode]
                same = ("ok", "kind", "first_bad_seq", "bad_range")
                assert {name: report[name] for name in same} == {name: want[name] for name in same}
                assert set(report["kinds"]) >= set(want["kinds"])
