"""Tree and proofs against a model written from RFC 6962, and against published vectors."""

from __future__ import annotations

import base64
import json
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.core.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofInvalid,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from tests.shared import shared_path

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.unit

LEAVES = [leaf_hash(str(number).encode()) for number in range(600)]


# The model: RFC 6962 section 2.1 word for word, on ranges of LEAVES; it shares nothing with the code.
def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


@cache
def mth(start: int, end: int) -> bytes:
    if end - start == 0:
        return sha256(b"").digest()
    if end - start == 1:
        return LEAVES[start]
    k = start + split(end - start)
    return sha256(b"\x01" + mth(start, k) + mth(k, end)).digest()


def path(m: int, start: int, end: int) -> list[bytes]:
    if end - start == 1:
        return []
    k = split(end - start)
    if m < k:
        return [*path(m, start, start + k), mth(start + k, end)]
    return [*path(m - k, start + k, end), mth(start, start + k)]


def subproof(m: int, start: int, end: int, known: bool) -> list[bytes]:  # noqa: FBT001 - the RFC's own parameter b
    if m == end - start:
        return [] if known else [mth(start, end)]
    k = split(end - start)
    if m <= k:
        return [*subproof(m, start, start + k, known), mth(start + k, end)]
    return [*subproof(m - k, start + k, end, known=False), mth(start, start + k)]


class Model:
    """`NodeReader` over the model."""

    def node(self, level: int, index: int) -> bytes:
        return mth(index << level, (index + 1) << level)


READER = Model()


def test_roots_of_all_sizes_to_600_equal_the_model() -> None:
    frontier = Frontier()
    for size in range(601):
        want = mth(0, size)
        assert frontier.root() == root_of(LEAVES[:size]) == tree_root(size, READER) == want
        if size < 600:
            frontier.append(LEAVES[size])


def test_frontier_restored_at_any_size_goes_on_to_the_same_root() -> None:
    for size in range(0, 600, 7):
        frontier = Frontier.restore(size, READER)
        frontier.extend(LEAVES[size:])
        assert frontier.root() == mth(0, 600)


def test_frontier_with_the_wrong_number_of_peaks_is_our_own_fault() -> None:
    with pytest.raises(AssertionError, match="2 peaks, not 1"):
        Frontier(5, [LEAVES[0]])


def test_inclusion_proofs_of_all_pairs_to_70_equal_the_model_and_verify() -> None:
    for size in range(1, 71):
        for index in range(size):
            proof = inclusion_proof(index, size, READER)
            assert proof == path(index, 0, size)
            verify_inclusion(index=index, size=size, leaf=LEAVES[index], proof=proof, root=mth(0, size))


def test_consistency_proofs_of_all_pairs_to_70_equal_the_model_and_verify() -> None:
    for new in range(1, 71):
        for old in range(1, new + 1):
            proof = consistency_proof(old, new, READER)
            assert proof == subproof(old, 0, new, known=True)
            verify_consistency(old=old, new=new, old_root=mth(0, old), new_root=mth(0, new), proof=proof)


def test_proofs_of_large_trees_equal_the_model() -> None:
    for size in (255, 256, 257, 511, 512, 599, 600):
        for index in range(0, size, 11):
            assert inclusion_proof(index, size, READER) == path(index, 0, size)
            assert consistency_proof(index + 1, size, READER) == subproof(index + 1, 0, size, known=True)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_no_inclusion_proof_beyond_the_tree(index: int, size: int) -> None:
    with pytest.raises(AssertionError):
        inclusion_proof(index, size, READER)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3)])
def test_no_consistency_proof_from_nothing_or_backwards(old: int, new: int) -> None:
    with pytest.raises(AssertionError):
        consistency_proof(old, new, READER)


sizes = st.integers(1, 300)


@settings(max_examples=300)
@given(st.data(), sizes)
def test_mutated_inclusion_proof_is_refused(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    good: dict[str, Any] = {
        "index": index,
        "size": size,
        "leaf": LEAVES[index],
        "proof": path(index, 0, size),
        "root": mth(0, size),
    }
    bad = data.draw(st.sampled_from(["leaf", "root", "index", "longer", "shorter", "bit", "short_hash"]))
    proof = list(good["proof"])
    match bad:
        case "leaf" | "root":
            good[bad] = flipped(good[bad], data)
        case "index":
            good["index"] = data.draw(st.integers(-1, size).filter(lambda other: other != index))
        case "longer":
            proof.insert(data.draw(st.integers(0, len(proof))), LEAVES[7])
        case "shorter" if proof:
            del proof[data.draw(st.integers(0, len(proof) - 1))]
        case "bit" if proof:
            at = data.draw(st.integers(0, len(proof) - 1))
            proof[at] = flipped(proof[at], data)
        case _:
            proof.append(b"short")
    with pytest.raises(ProofInvalid):
        verify_inclusion(**{**good, "proof": proof})


@settings(max_examples=300)
@given(st.data(), sizes)
def test_mutated_consistency_proof_is_refused(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(1, new))
    old_root, new_root, proof = mth(0, old), mth(0, new), subproof(old, 0, new, known=True)
    bad = data.draw(st.sampled_from(["old_root", "new_root", "old_zero", "longer", "shorter", "bit"]))
    match bad:
        case "old_root":
            old_root = flipped(old_root, data)
        case "new_root":
            new_root = flipped(new_root, data)
        case "old_zero":
            old, old_root = 0, EMPTY_ROOT
        case "shorter" if proof:
            del proof[data.draw(st.integers(0, len(proof) - 1))]
        case "bit" if proof:
            at = data.draw(st.integers(0, len(proof) - 1))
            proof[at] = flipped(proof[at], data)
        case _:
            proof.insert(data.draw(st.integers(0, len(proof))), LEAVES[7])
    with pytest.raises(ProofInvalid):
        verify_consistency(old=old, new=new, old_root=old_root, new_root=new_root, proof=proof)


def flipped(value: bytes, data: st.DataObject) -> bytes:
    bit = data.draw(st.integers(0, 255))
    return (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(32, "big")


def accepts_inclusion(vector: dict[str, Any]) -> bool:
    leaf, root, proof = decoded(vector["leafHash"], vector["root"], vector["proof"])
    try:
        verify_inclusion(
            index=vector["leafIdx"],
            size=vector["treeSize"],
            leaf=leaf,
            proof=proof,
            root=root,
        )
    except ProofInvalid:
        return False
    return True


def accepts_consistency(vector: dict[str, Any]) -> bool:
    old_root, new_root, proof = decoded(vector["root1"], vector["root2"], vector["proof"])
    try:
        verify_consistency(
            old=vector["size1"],
            new=vector["size2"],
            old_root=old_root,
            new_root=new_root,
            proof=proof,
        )
    except ProofInvalid:
        return False
    return True


def decoded(first: str, second: str, proof: list[str] | None) -> tuple[bytes, bytes, list[bytes]]:
    def plain(value: str) -> bytes:
        return base64.b64decode(value or "")

    return plain(first), plain(second), [plain(value) for value in proof or []]


@pytest.mark.parametrize(
    ("folder", "accepts"), [("inclusion", accepts_inclusion), ("consistency", accepts_consistency)]
)
def test_the_97_published_vectors_are_judged_as_published(
    folder: str, accepts: Callable[[dict[str, Any]], bool]
) -> None:
    files = sorted(shared_path(f"vectors/ledger/third_party/merkle/{folder}").rglob("*.json"))
    assert len(files) == 97
    for file in files:
        vector = json.loads(file.read_text())
        from_nothing = folder == "consistency" and vector["size1"] == 0
        assert accepts(vector) == (not vector["wantErr"] and not from_nothing), file
