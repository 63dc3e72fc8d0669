"""The golden log of the shared vectors, reproduced byte for byte from its seeds and statements."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel import signing
from ecp_project.kernel.canonical import encode
from ledger.core.entry import genesis, parse_entry, signed_message, splice, stmt_digest
from ledger.core.export import export_lines, write_log
from ledger.core.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from ledger.core.note import (
    COSIGNATURE,
    Checkpoint,
    Signer,
    Verifier,
    cosignatures,
    make_vkey,
    open_checkpoint,
    sign_checkpoint,
)
from ledger.core.proof import format_proof, verify_proof
from ledger.core.tiles import TileReader
from tests.shared import shared_path

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def folder() -> Path:
    return shared_path("vectors/ledger/golden")


@pytest.fixture(scope="module")
def golden(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "golden.json").read_text())
    return document


@pytest.fixture(scope="module")
def entries(folder: Path) -> list[bytes]:
    return (folder / "entries.ndjson").read_bytes().split(b"\n")[:-1]


@pytest.fixture(scope="module")
def leaves(entries: list[bytes]) -> list[bytes]:
    return [leaf_hash(entry) for entry in entries]


@pytest.fixture(scope="module")
def log_signer(golden: dict[str, Any]) -> Signer:
    return Signer(golden["origin"], bytes.fromhex(golden["seeds"]["log"]))


def test_genesis_leaves_and_roots(golden: dict[str, Any], entries: list[bytes], leaves: list[bytes]) -> None:
    assert genesis(golden["origin"]).hex() == golden["genesis"]
    for want, entry, leaf in zip(golden["entries"], entries, leaves, strict=True):
        parsed = parse_entry(entry)
        assert (want["seq"], want["bytes"]) == (parsed.seq, len(entry))
        assert (want["prev"], want["leaf"]) == (parsed.prev.hex(), leaf.hex())
        assert want["stmt_digest"] == stmt_digest(parsed.stmt_raw)
    assert {str(size): root_of(leaves[:size]).hex() for size in range(1, 6)} == golden["roots"]


def test_entries_are_spliced_and_signed_to_the_same_bytes(
    golden: dict[str, Any], entries: list[bytes]
) -> None:
    seed = bytes.fromhex(golden["seeds"]["agent"])
    prev = genesis(golden["origin"])
    for raw in entries:
        entry = parse_entry(raw)
        stmt = encode(entry.stmt)
        signature = signing.sign(seed, signed_message(golden["origin"], stmt))
        kid = signing.kid_of(signing.public_from_seed(seed))
        sigs = [{"alg": "ed25519", "kid": kid, "sig": signing.b64url(signature)}] if entry.sigs else []
        made = splice(
            origin=golden["origin"],
            prev=prev,
            rcvd=entry.rcvd,
            seq=entry.seq,
            sigs=encode(sigs),
            stmt=stmt,
            spooled_at=entry.spooled_at,
        )
        assert made == raw
        prev = leaf_hash(made)


def test_all_proofs_of_the_golden_tree(golden: dict[str, Any], leaves: list[bytes]) -> None:
    reader = TileReader(5, lambda _level, _index, width: b"".join(leaves[:width]))
    for index, want in golden["inclusion"].items():
        proof = inclusion_proof(int(index), 5, reader)
        assert [value.hex() for value in proof] == want
        verify_inclusion(index=int(index), size=5, leaf=leaves[int(index)], proof=proof, root=root_of(leaves))
    for case in golden["consistency"]:
        proof = consistency_proof(case["old"], case["new"], reader)
        assert [value.hex() for value in proof] == case["proof"]
        old_root, new_root = root_of(leaves[: case["old"]]), root_of(leaves[: case["new"]])
        verify_consistency(
            old=case["old"], new=case["new"], old_root=old_root, new_root=new_root, proof=proof
        )


def test_checkpoint_is_reproduced_from_the_key_seed(
    folder: Path, golden: dict[str, Any], leaves: list[bytes], log_signer: Signer
) -> None:
    checkpoint = Checkpoint(golden["origin"], 5, root_of(leaves))
    note = sign_checkpoint(checkpoint, log_signer)
    assert note.encode() == (folder / "log/checkpoint").read_bytes()
    assert log_signer.vkey == golden["log_vkey"] == (folder / "log.vkey").read_text().strip()
    assert open_checkpoint(note, Verifier(golden["log_vkey"])) == checkpoint


def test_cosignature_is_reproduced_from_the_witness_seed(folder: Path, golden: dict[str, Any]) -> None:
    note = (folder / "log/checkpoint").read_text()
    text = note.partition("\n\n")[0] + "\n"
    name = golden["witness_vkey"].partition("+")[0]
    witness = Signer(name, bytes.fromhex(golden["seeds"]["witness"]))
    cosigned = note + witness.cosign(text, seconds=golden["cosignature_time"])
    assert cosigned.encode() == (folder / "checkpoint.cosigned").read_bytes()
    assert make_vkey(name, witness.public_key, COSIGNATURE) == golden["witness_vkey"]
    verifier = Verifier(golden["witness_vkey"])
    assert cosignatures(cosigned, [verifier]) == [(verifier, golden["cosignature_time"])]


@pytest.mark.parametrize(("file", "note_file"), [
    ("receipt-2.tlog-proof", "log/checkpoint"),
    ("receipt-2.cosigned.tlog-proof", "checkpoint.cosigned"),
])  # fmt: skip
def test_receipt_is_reproduced_and_verifies(
    folder: Path, golden: dict[str, Any], entries: list[bytes], file: str, note_file: str
) -> None:
    text = (folder / file).read_text()
    hashes = [bytes.fromhex(value) for value in golden["inclusion"]["2"]]
    assert format_proof(2, hashes, (folder / note_file).read_text()) == text
    witnesses = [Verifier(golden["witness_vkey"])]
    quorum = 1 if "cosigned" in file else 0
    assert verify_proof(text, entries[2], Verifier(golden["log_vkey"]), witnesses, quorum).size == 5


def test_export_is_reproduced(folder: Path, golden: dict[str, Any], entries: list[bytes]) -> None:
    note = (folder / "log/checkpoint").read_text()
    lines = export_lines(origin=golden["origin"], first=0, entries=entries, checkpoint=note)
    assert b"".join(lines) == (folder / "export.ndjson").read_bytes()


def test_static_log_is_reproduced(folder: Path, entries: list[bytes], tmp_path: Path) -> None:
    write_log(tmp_path, entries, (folder / "log/checkpoint").read_text())
    assert files_of(tmp_path) == files_of(folder / "log")


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
