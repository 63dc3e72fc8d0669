"""A small honest log for tests: signed, plain and late entries, checkpoints; always the same bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ecp_project.kernel import signing
from ecp_project.kernel.canonical import encode
from ledger.core.entry import genesis, signed_message, splice
from ledger.core.export import export_lines
from ledger.core.merkle import Frontier, leaf_hash
from ledger.core.note import Checkpoint, Signer, Verifier, sign_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from random import Random

ORIGIN = "ecp.test/log/sample"
LOG_SEED = bytes(range(32))
AGENT_SEED = bytes(range(32, 64))
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
TEXTS = ("Cheapest of 4 offers.", "Größe gewählt, Lager leer 📦.", "Stock is old;\nprice lowered by 5 %.")


def time_text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class SampleLog:
    """Entries as the sequencer would splice them; `checkpoint_sizes` are signed as they are passed."""

    def __init__(self, origin: str = ORIGIN) -> None:
        self.signer = Signer(origin, LOG_SEED)
        self.origin = origin
        self.entries: list[bytes] = []
        self.leaves: list[bytes] = []
        self.notes: list[str] = []
        self._frontier = Frontier()

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.signer.vkey)

    def append(self, stmt: dict[str, Any], *, sign: bool = False, late: bool = False) -> None:
        seq, raw = len(self.entries), encode(stmt)
        rcvd = time_text(START + timedelta(milliseconds=seq))
        entry = splice(
            origin=self.origin,
            prev=self.leaves[-1] if self.leaves else genesis(self.origin),
            rcvd=rcvd,
            seq=seq,
            sigs=self._signatures(raw) if sign else b"[]",
            stmt=raw,
            spooled_at=rcvd if late else None,
        )
        self.entries.append(entry)
        self.leaves.append(leaf_hash(entry))
        self._frontier.append(self.leaves[-1])

    def _signatures(self, stmt: bytes) -> bytes:
        kid = signing.kid_of(signing.public_from_seed(AGENT_SEED))
        signature = signing.sign(AGENT_SEED, signed_message(self.origin, stmt))
        return encode([{"alg": "ed25519", "kid": kid, "sig": signing.b64url(signature)}])

    def checkpoint(self) -> str:
        checkpoint = Checkpoint(self.origin, self._frontier.size, self._frontier.root())
        self.notes.append(sign_checkpoint(checkpoint, self.signer))
        return self.notes[-1]

    def export(self) -> bytes:
        lines = export_lines(origin=self.origin, first=0, entries=self.entries, checkpoint=self.notes[-1])
        return b"".join(lines)

    def write_export(self, path: Path) -> Path:
        path.write_bytes(self.export())
        return path

    def write_vkey(self, path: Path) -> Path:
        path.write_text(self.signer.vkey + "\n")
        return path


def key_statement(seq: int) -> dict[str, Any]:
    public_key = signing.public_from_seed(AGENT_SEED)
    at = time_text(START)
    return {
        "actor": "system:test",
        "alg": "ed25519",
        "event": "added",
        "holder": "agent:bot.a",
        "id": statement_id(seq),
        "kid": signing.kid_of(public_key),
        "org": "sample",
        "public_key": signing.b64url(public_key),
        "ts": at,
        "v": "ecp.key/1",
        "valid_from": at,
    }


def decision(seq: int, **members: Any) -> dict[str, Any]:
    return {
        "action": "price.change",
        "agent": "bot.a",
        "explanation": f"{TEXTS[seq % len(TEXTS)]} Decision {seq}.",
        "id": statement_id(seq),
        "model": {"name": "pricer", "version": "3.1"},
        "org": "sample",
        "risk": "low",
        "ts": time_text(START + timedelta(milliseconds=seq)),
        "v": "ecp.decision/1",
        **members,
    }


def statement_id(seq: int) -> str:
    return f"019b0a2c-4e00-7000-8000-{seq:012x}"


def sample_log(size: int, *, signed: Iterable[int] = (), checkpoints: Iterable[int] = ()) -> SampleLog:
    """Entry 0 announces the key, `signed` positions carry a signature; the end always has a checkpoint."""
    log, signed_at, checkpoints_at = SampleLog(), set(signed), {*checkpoints, size}
    for seq in range(size):
        stmt = key_statement(seq) if seq == 0 else decision(seq)
        log.append(stmt, sign=seq == 0 or seq in signed_at, late=seq % 7 == 3)
        if seq + 1 in checkpoints_at:
            log.checkpoint()
    return log


def random_log(random: Random) -> SampleLog:
    size = random.randrange(1, 24)
    positions = range(size)
    return sample_log(
        size,
        signed=random.sample(positions, random.randrange(size + 1)),
        checkpoints=[random.randrange(1, size + 1) for _ in range(random.randrange(3))],
    )
