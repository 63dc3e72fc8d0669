"""A log written by another implementation, Tessera, is read as that one meant it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ledger.core.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from ledger.core.note import Checkpoint, Verifier, open_checkpoint
from ledger.core.verify.sources import DirectorySource, read_bundle, tile_reader
from tests.shared import shared_path

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.core.tiles import TileReader

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def folder() -> Path:
    return shared_path("vectors/ledger/third_party/tessera")


@pytest.fixture(scope="module")
def checkpoints(folder: Path) -> list[Checkpoint]:
    verifier = Verifier((folder / "log.vkey").read_text().strip())
    return [open_checkpoint((folder / f"log/checkpoint.{size}").read_text(), verifier) for size in range(16)]


@pytest.fixture(scope="module")
def reader(folder: Path) -> TileReader:
    return tile_reader(DirectorySource(folder / "log"), 15)


def test_all_checkpoints_verify_and_say_their_size(checkpoints: list[Checkpoint]) -> None:
    assert [checkpoint.size for checkpoint in checkpoints] == list(range(16))


def test_each_pair_of_checkpoints_is_consistent(checkpoints: list[Checkpoint], reader: TileReader) -> None:
    for new in checkpoints[1:]:
        for old in checkpoints[1 : new.size + 1]:
            proof = consistency_proof(old.size, new.size, reader)
            verify_consistency(old=old.size, new=new.size, old_root=old.root, new_root=new.root, proof=proof)


def test_every_bundle_re_hashes_to_its_partial_tile(folder: Path, checkpoints: list[Checkpoint]) -> None:
    source = DirectorySource(folder / "log")
    for checkpoint in checkpoints[1:]:
        reader = tile_reader(source, checkpoint.size)
        entries = read_bundle(source, 0, checkpoint.size)
        assert [leaf_hash(entry) for entry in entries] == reader.leaf_hashes(0)
        assert tree_root(checkpoint.size, reader) == checkpoint.root


def test_each_entry_is_included(folder: Path, checkpoints: list[Checkpoint], reader: TileReader) -> None:
    for index, entry in enumerate(read_bundle(DirectorySource(folder / "log"), 0, 15)):
        proof = inclusion_proof(index, 15, reader)
        verify_inclusion(index=index, size=15, leaf=leaf_hash(entry), proof=proof, root=checkpoints[15].root)
