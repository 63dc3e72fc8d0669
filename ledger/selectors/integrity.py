"""Four ticks for one entry: leaf, chain, path, signature (CONSOLE section 6); and its agent's signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from django.conf import settings

from ecp_project.kernel.signing import verify
from ledger.core.entry import EntrySyntax, genesis, leaf_hash, parse_entry, signed_message
from ledger.core.merkle import ProofInvalid, inclusion_proof, verify_inclusion
from ledger.core.note import open_checkpoint
from ledger.keys import verifiers
from ledger.models import AgentKey, Checkpoint, Entry
from ledger.selectors.proofs import newest_checkpoint, reader

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.core.entry import Entry as ParsedEntry
    from ledger.selectors.proofs import SignedSize

State = Literal["pass", "fail", "pending", "unavailable"]
Verdict = Literal["verified", "pending", "failed"]


@dataclass(frozen=True, slots=True)
class Tick:
    """One check: what was computed and what was expected; `detail` says what a failure means."""

    name: str
    state: State
    got: str
    want: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EntryVerdict:
    """`verified`, `pending` (not under a checkpoint yet) or `failed`, with the checks behind it."""

    verdict: Verdict
    checks: tuple[Tick, ...]
    checkpoint_size: int


def entry_verdict(entry: Entry) -> EntryVerdict:
    """Recompute everything from stored bytes; nothing is taken from a cache."""
    raw = bytes(entry.entry)
    leaf = leaf_hash(raw)
    try:
        parsed, fault = parse_entry(raw), ""
    except EntrySyntax as error:
        parsed, fault = None, str(error)
    signed = newest_checkpoint(entry.log_id)
    checks = (
        _leaf(entry, leaf),
        _chain(entry, parsed, fault),
        _path(entry, leaf, signed),
        _signature(entry, signed),
        *_agent_signatures(entry, parsed),
    )
    states = {check.state for check in checks}
    verdict: Verdict = "verified"
    if "fail" in states:
        verdict = "failed"
    elif states & {"pending", "unavailable"}:
        verdict = "pending"
    return EntryVerdict(verdict, checks, signed.size if signed else 0)


def verdict_document(*, entry: Entry, verdict: EntryVerdict, now: datetime) -> dict[str, Any]:
    """`ecp.verify/1` of one entry, for programs."""
    size = verdict.checkpoint_size
    signed = Checkpoint.objects.filter(log_id=entry.log_id, size=size).first()
    return {
        "v": "ecp.verify/1",
        "origin": entry.log.origin,
        "seq": entry.seq,
        "verdict": verdict.verdict,
        "checks": [
            {"name": check.name, "state": check.state, "got": check.got, "want": check.want}
            for check in verdict.checks
        ],
        "checkpoint": signed
        and {
            "size": size,
            "root": bytes(signed.root).hex(),
            "age_s": int((now - signed.created).total_seconds()),
        },
    }


def _tick(name: str, *, passes: bool, got: str, want: str, detail: str) -> Tick:
    return Tick(name, "pass", got, want) if passes else Tick(name, "fail", got, want, detail)


def _leaf(entry: Entry, leaf: bytes) -> Tick:
    stored = bytes(entry.leaf_hash)
    return _tick(
        "Leaf",
        passes=leaf == stored,
        got=leaf.hex(),
        want=stored.hex(),
        detail="the stored bytes are not those that were hashed when the entry was recorded",
    )


def _chain(entry: Entry, parsed: ParsedEntry | None, fault: str) -> Tick:
    if entry.seq == 0:
        want = genesis(entry.log.origin)
    else:
        before = Entry.objects.filter(id=entry.id - 1).values_list("entry", flat=True).first()
        if before is None:
            return Tick(
                "Chain", "fail", "", f"entry {entry.seq - 1}", f"the entry at {entry.seq - 1} is missing"
            )
        want = leaf_hash(bytes(before))
    if parsed is None:
        return Tick("Chain", "fail", "", want.hex(), f"the stored bytes are no entry: {fault}")
    return _tick(
        "Chain",
        passes=parsed.prev == want,
        got=parsed.prev.hex(),
        want=want.hex(),
        detail="this entry does not follow the entry that is stored before it",
    )


def _not_covered(name: str, entry: Entry, signed: SignedSize | None) -> Tick:
    covered = (
        f"the newest checkpoint covers {signed.size} entries" if signed else "there is no checkpoint yet"
    )
    return Tick(name, "pending", covered, f"a checkpoint over more than {entry.seq} entries")


def _path(entry: Entry, leaf: bytes, signed: SignedSize | None) -> Tick:
    if signed is None or signed.size <= entry.seq:
        return _not_covered("Path", entry, signed)
    root = signed.root.hex()
    try:
        hashes = inclusion_proof(entry.seq, signed.size, reader(entry.log_id, signed.size, entry.seq))
        verify_inclusion(index=entry.seq, size=signed.size, leaf=leaf, proof=hashes, root=signed.root)
    except ProofInvalid as error:
        return Tick("Path", "fail", "another root", root, str(error))
    return Tick("Path", "pass", root, root)


def _signature(entry: Entry, signed: SignedSize | None) -> Tick:
    if signed is None or signed.size <= entry.seq:
        return _not_covered("Signature", entry, signed)
    keys = verifiers(settings.ECP_LOG_PUBLIC_KEYS, entry.log.origin)
    if not keys:
        return Tick("Signature", "unavailable", "no ledger key is configured", "ECP_LOG_PUBLIC_KEYS")
    want = f"root {signed.root.hex()} over {signed.size} entries"
    for key in reversed(keys):
        try:
            found = open_checkpoint(signed.note, key)
        except ProofInvalid:
            continue
        is_same = (found.origin, found.size, found.root) == (entry.log.origin, signed.size, signed.root)
        return _tick(
            "Signature",
            passes=is_same,
            got=f"root {found.root.hex()} over {found.size} entries",
            want=want,
            detail="the signed checkpoint speaks of another tree than the one stored beside it",
        )
    return Tick("Signature", "fail", "no configured key signed this checkpoint", keys[-1].vkey)


def _agent_signatures(entry: Entry, parsed: ParsedEntry | None) -> tuple[Tick, ...]:
    """One tick for each signature that the agent itself put on the statement; most entries have none."""
    if parsed is None or not parsed.sigs:
        return ()
    message = signed_message(entry.log.origin, parsed.stmt_raw)
    keys = {key.kid: key for key in AgentKey.objects.filter(kid__in=[sig.kid for sig in parsed.sigs])}
    ticks = []
    for sig in parsed.sigs:
        key = keys.get(sig.kid)
        if key is None:
            ticks.append(Tick("Agent", "unavailable", "this key is not registered", f"key {sig.kid}"))
            continue
        ticks.append(
            _tick(
                "Agent",
                passes=verify(bytes(key.public_key), sig.sig, message),
                got=f"key {sig.kid}",
                want=f"key {sig.kid}",
                detail="the agent's key did not sign these bytes",
            )
        )
    return tuple(ticks)
