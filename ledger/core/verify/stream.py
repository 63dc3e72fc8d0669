"""One pass over the entries of a log, in order: syntax, sequence, chain, time, ids, keys, signatures, tree.

The caller brings the entry bytes and, where it has one, an independent leaf hash for each (a column, a tile).
Memory is constant but for the ids seen, kept as 16-byte integers (about 100 bytes each), and the findings,
which are capped.

Places. An entry is blamed at the position where it stands: the number after its predecessor's, or its own
`seq` if that is lower. The chain is checked between neighbours whose numbers follow each other, as a gap or a
repetition is a finding of its own. A broken link between b-1 and b blames b-1, since changing an entry breaks
the link behind it; but b, if the link behind b is broken too, since then `prev` of b was changed.
"""

from __future__ import annotations

import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from ecp_project.kernel import signing
from ledger.core.entry import Entry, EntrySyntax, genesis, parse_entry, signed_message
from ledger.core.merkle import Frontier, ProofInvalid
from ledger.core.note import Checkpoint, Verifier, open_checkpoint
from ledger.core.verify.report import Checked, Findings, Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class AgentKey(NamedTuple):
    """A key learnt from an `ecp.key/1` entry; without a holder it comes from the caller."""

    public_key: bytes
    holder: str | None


class _BrokenLink(NamedTuple):
    seq: int
    expected: bytes
    found: bytes


class LogVerifier:
    """Feed entries in order, then `finish`. A caller with more evidence adds its own `findings` in between.

    `notes` are checkpoint texts; all must be signed by `verifier`. `anchors` (kid -> public key) are agent
    keys the caller trusts: when given, a key the log announces counts only if it equals its anchor.

    A run may start at position `first` > 0, with the leaf hash before it (`tip`) and the tree so far
    (`frontier`); without them the first link and the roots stay unchecked. Keys announced earlier then are
    the anchors.
    """

    def __init__(
        self,
        verifier: Verifier,
        notes: Iterable[str] = (),
        *,
        anchors: Mapping[str, bytes] | None = None,
        signatures: bool = False,
        first: int = 0,
        tip: bytes | None = None,
        frontier: Frontier | None = None,
    ) -> None:
        self.origin = verifier.name
        self.findings = Findings()
        self.checked = Checked()
        self.keys: dict[str, AgentKey] = {}
        self.bad_range: tuple[int, int] | None = None
        self._started = time.perf_counter()
        self._anchors = anchors
        self._check_signatures = signatures
        self._first = first
        self._next = first
        self._tip = genesis(self.origin) if first == 0 else tip
        self._tree = Frontier() if first == 0 else frontier
        self._rcvd = ""
        self._ids: set[int] = set()
        self._broken: _BrokenLink | None = None
        self._checkpoints: dict[int, list[Checkpoint]] = {}
        self._matching: list[int] = []
        self._mismatching: list[int] = []
        if first > 0:
            self.keys.update({kid: AgentKey(key, None) for kid, key in (anchors or {}).items()})
        for note in notes:
            self._open(note, verifier)
        self._compare_root()

    def _open(self, note: str, verifier: Verifier) -> None:
        try:
            checkpoint = open_checkpoint(note, verifier)
        except ProofInvalid as error:
            self.findings.add("checkpoint_signature", detail=str(error))
            return
        self.checked.checkpoints += 1
        known = self._checkpoints.setdefault(checkpoint.size, [])
        if checkpoint not in known:
            known.append(checkpoint)

    def feed(self, raw: bytes, leaf: bytes | None = None) -> Entry | None:
        """Check one entry; the parsed entry is returned for further checks, None if it cannot be parsed."""
        self.checked.entries += 1
        computed = sha256(b"\x00" + raw).digest()
        at, parsed = self._next, None
        try:
            parsed = entry = parse_entry(raw)
        except EntrySyntax as error:
            self.findings.add("entry_syntax", seq=at, detail=str(error))
            self._settle_link(broken=None)
            self._next = at + 1
        else:
            at = min(at, entry.seq)
            self._check_place(entry, at)
            self._check_statement(entry, at)
            self._next = entry.seq + 1
            self._rcvd = entry.rcvd
        if leaf is not None and leaf != computed:
            detail = "the stored leaf hash is not that of the entry"
            self.findings.add(
                "leaf_mismatch", seq=at, expected=leaf.hex(), found=computed.hex(), detail=detail
            )
        self._tip = computed
        tree = self._tree
        if tree is not None:
            tree.append(computed)
            if tree.size in self._checkpoints:
                self._compare_root()
        return parsed

    def skip(self, leaves: Iterable[bytes]) -> None:
        """Pass over entries that cannot be had: tree and chain go on from their leaf hashes."""
        self._settle_link(broken=None)
        for leaf in leaves:
            self._next += 1
            self._tip = leaf
            if self._tree is not None:
                self._tree.append(leaf)
                self._compare_root()

    def _check_place(self, entry: Entry, at: int) -> None:
        if entry.log != self.origin:
            self.findings.add("origin_mismatch", seq=at, expected=self.origin, found=entry.log)
        if entry.seq != self._next:
            kind = "seq_gap" if entry.seq > self._next else "seq_duplicate"
            self.findings.add(kind, seq=at, expected=str(self._next), found=str(entry.seq))
            self._settle_link(broken=None)
        elif self._tip is not None:
            self.checked.links += 1
            if entry.prev != self._tip:
                self._settle_link(broken=_BrokenLink(at, self._tip, entry.prev))
            elif self._broken is not None:
                self._settle_link(broken=None)
        if entry.rcvd < self._rcvd:
            self.findings.add("rcvd_backwards", seq=at, expected=f"{self._rcvd} or later", found=entry.rcvd)

    def _settle_link(self, broken: _BrokenLink | None) -> None:
        """Decide whom the last broken link blames, as the link behind it is known now; keep the new one."""
        last, self._broken = self._broken, broken
        if last is None:
            return
        is_own_fault = broken is not None or last.seq == self._first
        self.findings.add(
            "chain_break",
            seq=last.seq if is_own_fault else last.seq - 1,
            expected=last.expected.hex(),
            found=last.found.hex(),
            detail=f"prev of position {last.seq} is not the leaf hash of the entry before it",
        )

    def _check_statement(self, entry: Entry, at: int) -> None:
        stmt = entry.stmt
        number = int(stmt["id"].replace("-", ""), 16)
        if number in self._ids:
            self.findings.add("duplicate_id", seq=at, found=stmt["id"])
        self._ids.add(number)
        if stmt["v"] == "ecp.key/1":
            self._learn_key(stmt, at)
        if self._check_signatures and entry.sigs_raw != b"[]":
            self._verify_signatures(entry, at)

    def _learn_key(self, stmt: dict[str, Any], at: int) -> None:
        """Take an agent key from its entry. Validity in time is judged at acceptance, identity here."""
        holder, kid, public_key = (stmt.get(name) for name in ("holder", "kid", "public_key"))
        if stmt.get("event") not in ("added", "rotated") or holder == "log":
            return
        try:
            key = signing.b64url_decode(str(public_key))
        except ValueError:
            key = b""
        if signing.kid_of(key) != kid:
            detail = "the key id in the key entry is not that of its public key"
            self.findings.add(
                "registry_mismatch", seq=at, expected=signing.kid_of(key), found=str(kid), detail=detail
            )
        elif self._anchors is not None and self._anchors.get(kid) != key:
            detail = "the key entry announces a key that the given keys do not hold"
            self.findings.add("registry_mismatch", seq=at, found=f"{kid} {public_key}", detail=detail)
        else:
            self.keys[kid] = AgentKey(key, str(holder))

    def _verify_signatures(self, entry: Entry, at: int) -> None:
        agent = entry.stmt.get("agent")
        message = signed_message(self.origin, entry.stmt_raw)
        for signature in entry.sigs:
            key = self.keys.get(signature.kid)
            if key is None or (agent is not None and key.holder not in (None, f"agent:{agent}")):
                detail = "no key entry before this one gives that key to the agent"
                self.findings.add("key_unknown", seq=at, found=signature.kid, detail=detail)
                continue
            self.checked.signatures += 1
            if not signing.verify(key.public_key, signature.sig, message):
                self.findings.add("signature_invalid", seq=at, found=signature.kid)

    def _compare_root(self) -> None:
        tree = self._tree
        if tree is None:
            return
        for checkpoint in self._checkpoints.get(tree.size, ()):
            root = tree.root()
            if checkpoint.root == root:
                self._matching.append(tree.size)
                continue
            self._mismatching.append(tree.size)
            self.findings.add(
                "root_mismatch",
                expected=checkpoint.root.hex(),
                found=root.hex(),
                detail=f"the first {tree.size:,} entries do not have the root of the checkpoint",
            )

    def finish(self, *, head: tuple[int, bytes] | None = None) -> Report:
        """Judge what only the end shows; `head` is the sequencer's row (size, tip) where there is one.

        Under a head the newest entries may still wait for their checkpoint. Without one they prove nothing:
        the chain needs no key, so anybody can append to an export.
        """
        self._settle_link(broken=None)
        size = self._first + self.checked.entries if self._tree is None else self._tree.size
        self._check_checkpoints(size)
        if head is not None and head != (size, self._tip):
            tip = "none" if self._tip is None else self._tip.hex()
            self.findings.add(
                "head_mismatch",
                expected=f"size {size}, tip {tip}",
                found=f"size {head[0]}, tip {head[1].hex()}",
            )
        return Report(
            origin=self.origin,
            size=size,
            root=None if self._tree is None else self._tree.root(),
            checked=self.checked,
            findings=self.findings,
            seconds=time.perf_counter() - self._started,
            bad_range=self.bad_range,
            incomplete=self._missing_evidence(size, is_under_head=head is not None),
        )

    def _check_checkpoints(self, size: int) -> None:
        for claimed, checkpoints in self._checkpoints.items():
            if len(checkpoints) > 1:
                roots = " and ".join(checkpoint.root.hex() for checkpoint in checkpoints)
                self.findings.add(
                    "fork", found=roots, detail=f"signed checkpoints of size {claimed:,} differ"
                )
        largest = max(self._checkpoints, default=0)
        if largest > size:
            detail = "a signed checkpoint commits to more entries than there are"
            self.findings.add(
                "truncated", seq=size, expected=f"{largest} entries", found=f"{size} entries", detail=detail
            )
        if self._mismatching:
            high = min(self._mismatching)
            base = self._first if high > self._first else 0
            self.bad_range = (max((match for match in self._matching if match < high), default=base), high)

    def _missing_evidence(self, size: int, *, is_under_head: bool) -> str:
        if self._tree is None:
            return f"the entries start at position {self._first:,}, so no root can be computed"
        covered = max(self._matching, default=0)
        if size > 0 and covered == 0:
            return "no signed checkpoint covers these entries"
        if covered < size and not is_under_head:
            return f"no signed checkpoint covers the entries from position {covered:,} on"
        return ""
