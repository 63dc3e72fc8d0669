# A copy of ledger/core/merkle.py, made by clients/python/copy_core.py; change it there.
"""The Merkle tree of RFC 6962 section 2.1 over entry bytes: hashes, roots, proofs and their verification.

    leaf hash      SHA-256(0x00 || entry)
    node hash      SHA-256(0x01 || left || right)
    empty root     SHA-256("")
    MTH(D[n])      node(MTH(D[0:k]), MTH(D[k:n])), k the largest power of two smaller than n

The two prefixes keep a leaf from ever being read as a node. A *complete* subtree covers 2^level leaves from a
multiple of 2^level on; it is addressed as (level, index) and never changes once the log has passed it.
Everything else in a tree of a given size is folded from complete subtrees, so storage only ever holds
complete ones.

Bad bytes from outside have one failure, `ProofInvalid`; a breach of our own arithmetic is an
`AssertionError`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()


class ProofInvalid(ValueError):
    """Bytes from outside prove nothing. The reason is for people who read a report, never for branching."""


class NodeReader(Protocol):
    """Access to the hashes of complete subtrees, wherever they are stored."""

    def node(self, level: int, index: int) -> bytes:
        """Hash over the 2^level leaves starting at index * 2^level."""
        ...


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """MTH of a list of leaf hashes, level by level: an odd last node is carried up unchanged."""
    if not leaves:
        return EMPTY_ROOT
    nodes = list(leaves)
    while len(nodes) > 1:
        pairs = iter(nodes)
        above = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
        if len(nodes) & 1:
            above.append(nodes[-1])
        nodes = above
    return nodes[0]


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, largest first.

    Their sizes are the binary digits of `size`, so appending a leaf is adding one to a binary number: each
    carry is one node hash, one per leaf on average.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)
        if len(self._peaks) != size.bit_count():
            msg = f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(self._peaks)}"
            raise AssertionError(msg)

    @classmethod
    def restore(cls, size: int, reader: NodeReader) -> Frontier:
        return cls(size, (reader.node(level, index) for level, index in complete_subtrees(0, size)))

    @property
    def peaks(self) -> tuple[bytes, ...]:
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        peaks, carries = self._peaks, self.size
        while carries & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf).digest()
            carries >>= 1
        peaks.append(leaf)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        return _fold(self._peaks)


def _fold(peaks: Sequence[bytes]) -> bytes:
    """Root over complete subtrees given left to right; the smaller ones hang deeper on the right."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def largest_power_of_two_below(n: int) -> int:
    """Split point k of RFC 6962 section 2.1: the largest power of two smaller than n, n > 1."""
    return 1 << (n - 1).bit_length() - 1


def complete_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """(level, index) of the complete subtrees that make up leaves [start, end), left to right.

    `start` is a multiple of a power of two at least as large as the range, as every range of the RFC's
    recursion is.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def _range_root(start: int, end: int, reader: NodeReader) -> bytes:
    return _fold([reader.node(level, index) for level, index in complete_subtrees(start, end)])


def tree_root(size: int, reader: NodeReader) -> bytes:
    return _range_root(0, size, reader)


def inclusion_proof(index: int, size: int, reader: NodeReader) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962 section 2.1.1, from the leaf's sibling up to the root."""
    if not 0 <= index < size:
        msg = f"no inclusion proof for position {index} in a tree of {size}"
        raise AssertionError(msg)
    path, start, end = [], 0, size
    while end - start > 1:
        split = start + largest_power_of_two_below(end - start)
        if index < split:
            path.append((split, end))
            end = split
        else:
            path.append((start, split))
            start = split
    return [_range_root(left, right, reader) for left, right in reversed(path)]


def consistency_proof(old: int, new: int, reader: NodeReader) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 6962 section 2.1.2; nothing is provable about the empty tree, so old >= 1."""
    if not 1 <= old <= new:
        msg = f"no consistency proof from size {old} to {new}"
        raise AssertionError(msg)
    path, start, end = [], 0, new
    while old != end:
        split = start + largest_power_of_two_below(end - start)
        if old <= split:
            path.append((split, end))
            end = split
        else:
            path.append((start, split))
            start = split
    # SUBPROOF's flag b: the verifier knows the old root, so a subtree that is the whole old tree is left out.
    if start > 0:
        path.append((start, end))
    return [_range_root(left, right, reader) for left, right in reversed(path)]


def verify_inclusion(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check an audit path as RFC 9162 section 2.1.3.2 does, which fixes the length of the path."""
    _demand_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise ProofInvalid("the position is not below the tree size")
    position, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofInvalid("the audit path is too long")
        if position & 1 or position == last:
            computed = node_hash(sibling, computed)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise ProofInvalid("the audit path is too short")
    if computed != root:
        raise ProofInvalid("the audit path does not lead to the root")


def verify_consistency(  # noqa: C901 - the RFC's algorithm, one straight story
    *, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check growth from `old` to `new` as RFC 9162 section 2.1.4.2 does; from size 0 it is refused."""
    _demand_hashes(old_root, new_root, *proof)
    if not 1 <= old <= new:
        raise ProofInvalid("the old size is not between 1 and the new size")
    if old == new:
        if proof or old_root != new_root:
            raise ProofInvalid("one size has one root and needs no proof")
        return
    # A power of two is a complete subtree of the new tree: its root is known and left out of the proof.
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise ProofInvalid("the consistency proof is empty")
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofInvalid("the consistency proof is too long")
        if position & 1 or position == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new_computed = node_hash(new_computed, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise ProofInvalid("the consistency proof is too short")
    if old_computed != old_root or new_computed != new_root:
        raise ProofInvalid("the consistency proof does not lead to both roots")


def _demand_hashes(*hashes: bytes) -> None:
    if any(len(value) != HASH_SIZE for value in hashes):
        raise ProofInvalid("a hash has 32 bytes")
