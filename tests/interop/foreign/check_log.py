"""Check a static log with `aics-tlog` and `pymerkle`; run by an interpreter that has both, without our code.

Usage: check_log.py LOG_DIRECTORY VKEY_FILE [WITNESS_VKEY_FILE]
Exits 0 if both agree with the signed checkpoint in every tile, bundle, root and proof.
"""

import sys
from pathlib import Path

import pymerkle  # type: ignore[import-not-found,unused-ignore]  # lives in an environment of its own
from aics_tlog import (  # type: ignore[import-not-found,unused-ignore]  # as above
    FileSystemTileReader,
    VerifiedTileReader,
    audit_tiles,
    consistency_proof_from_tiles,
    inclusion_proof_from_tiles,
    parse_note,
    parse_vkey,
    tree_root_from_tiles,
    verify_checkpoint,
    verify_consistency,
    verify_leaf_inclusion,
)


def signed_checkpoint(directory: Path, vkey_file: Path, witness_file: Path | None) -> tuple[int, bytes]:
    log_key = parse_vkey(vkey_file.read_text().strip())
    witnesses = [parse_vkey(witness_file.read_text().strip())] if witness_file else []
    note = parse_note((directory / "checkpoint").read_text())
    result = verify_checkpoint(note, log_key, witnesses, len(witnesses), expected_origin=log_key.name)
    assert result.ok, result.error
    return result.size, result.root


def main(directory: Path, vkey_file: Path, witness_file: Path | None = None) -> None:
    size, root = signed_checkpoint(directory, vkey_file, witness_file)
    files = FileSystemTileReader(directory)
    audit_tiles(files, size, root)
    reader = VerifiedTileReader(files, size, root)
    entries = [reader.entry(index) for index in range(size)]

    for index in range(0, size, max(1, size // 50)):
        proof = inclusion_proof_from_tiles(files, index, size)
        assert verify_leaf_inclusion(entries[index], index, size, proof, root)
        old_root = tree_root_from_tiles(files, index + 1, size)
        growth = consistency_proof_from_tiles(files, index + 1, size)
        assert verify_consistency(index + 1, size, old_root, root, growth)

    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in entries:
        tree.append_entry(entry)
    assert tree.get_root() == root, "pymerkle computes another root"
    sys.stdout.write(f"{size} entries, root {root.hex()}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
