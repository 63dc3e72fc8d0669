"""Four ticks for one entry: leaf, chain, path, signature (CONSOLE section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from django.conf import settings

from ledger.core.entry import EntrySyntax, genesis, leaf_hash, parse_entry
from ledger.core.merkle import ProofInvalid, inclusion_proof, verify_inclusion
from ledger.core.note import open_checkpoint
from ledger.keys import verifiers
from ledger.models import Entry
from ledger.selectors.proofs import newest_checkpoint, reader

State = Literal["pass", "fail", "pending", "unavailable"]


@dataclass(frozen=True, slots=True)
class Tick:
    name: str
    state: State
    got: str
    want: str


@dataclass(frozen=True, slots=True)
class EntryVerdict:
    """`verified`, `pending` (not under a checkpoint yet) or `failed`, with the checks behind it."""

    verdict: Literal["verified", "pending", "failed"]
    checks: tuple[Tick, ...]
    checkpoint_size: int


def entry_verdict(entry: Entry) -> EntryVerdict:
    """Recompute everything from stored bytes; nothing is taken from a cache."""
    raw = bytes(entry.entry)
    leaf = leaf_hash(raw)
    stored = bytes(entry.leaf_hash)
    checks = [
        Tick("Leaf", "pass" if leaf == stored else "fail", leaf.hex(), stored.hex()),
        _chain(entry, raw),
    ]
    signed = newest_checkpoint(entry.log_id)
    if signed is None or signed.size <= entry.seq:
        size = signed.size if signed else 0
        checks += [
            Tick(name, "pending", f"newest checkpoint covers {size} entries", f"more than {entry.seq}")
            for name in ("Path", "Signature")
        ]
    else:
        size = signed.size
        hashes = inclusion_proof(entry.seq, size, reader(entry.log_id, size))
        try:
            verify_inclusion(index=entry.seq, size=size, leaf=leaf, proof=hashes, root=signed.root)
            checks.append(Tick("Path", "pass", signed.root.hex(), signed.root.hex()))
        except ProofInvalid:
            checks.append(Tick("Path", "fail", "the path does not lead to the root", signed.root.hex()))
        checks.append(_signature(entry, signed.note, signed.root, size))
    states = {check.state for check in checks}
    verdict: Literal["verified", "pending", "failed"] = "verified"
    if "fail" in states:
        verdict = "failed"
    elif states & {"pending", "unavailable"}:
        verdict = "pending"
    return EntryVerdict(verdict, tuple(checks), size)


def _chain(entry: Entry, raw: bytes) -> Tick:
    if entry.seq == 0:
        want = genesis(entry.log.origin)
    else:
        before = Entry.objects.filter(id=entry.id - 1).values_list("entry", flat=True).first()
        if before is None:
            return Tick("Chain", "fail", "the entry before is missing", f"position {entry.seq - 1}")
        want = leaf_hash(bytes(before))
    try:
        got = parse_entry(raw).prev
    except EntrySyntax as error:
        return Tick("Chain", "fail", str(error), want.hex())
    return Tick("Chain", "pass" if got == want else "fail", got.hex(), want.hex())


def _signature(entry: Entry, note: str, root: bytes, size: int) -> Tick:
    keys = verifiers(settings.ECP_LOG_PUBLIC_KEYS, entry.log.origin)
    if not keys:
        return Tick("Signature", "unavailable", "no ledger key is configured", "ECP_LOG_PUBLIC_KEYS")
    for key in reversed(keys):
        try:
            checkpoint = open_checkpoint(note, key)
        except ProofInvalid:
            continue
        is_same = (checkpoint.origin, checkpoint.size, checkpoint.root) == (entry.log.origin, size, root)
        return Tick("Signature", "pass" if is_same else "fail", f"size {checkpoint.size}", f"size {size}")
    return Tick("Signature", "fail", "no configured key verifies the checkpoint", keys[-1].vkey)
