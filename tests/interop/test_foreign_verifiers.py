"""Verifiers that others wrote accept our logs and receipts, and refuse them once a byte is changed.

`ECP_INTEROP_LOG` (static log directory) and `ECP_INTEROP_VKEY` (its key file) name a log of your own.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from ledger.core.export import write_log
from ledger.core.merkle import inclusion_proof
from ledger.core.note import Checkpoint, split_note
from ledger.core.proof import format_proof
from ledger.core.tiles import TILE_WIDTH
from ledger.core.verify.sources import DirectorySource, read_bundle, tile_reader
from tests.interop import toolbox
from tests.ledger.core.sample_log import sample_log
from tests.shared import shared_path

pytestmark = pytest.mark.interop

SIZE = 1_100


@pytest.fixture(scope="module")
def python() -> Path:
    return toolbox.python_with_verifiers()


@pytest.fixture(scope="module")
def node() -> Path:
    return toolbox.node_program()


@pytest.fixture(params=["made here", "golden", "your own"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """Directory and key file of a static log, free to be changed."""
    directory, vkey = tmp_path / "log", tmp_path / "log.vkey"
    match request.param:
        case "made here":
            made = sample_log(SIZE, signed=range(0, SIZE, 9))
            write_log(directory, made.entries, made.notes[-1])
            made.write_vkey(vkey)
        case "golden":
            golden = shared_path("vectors/ledger/golden")
            copy_writable(golden / "log", directory)
            vkey.write_bytes((golden / "log.vkey").read_bytes())
        case _:
            if not (named := os.environ.get("ECP_INTEROP_LOG")):
                pytest.skip("ECP_INTEROP_LOG names no log")
            copy_writable(Path(named), directory)
            vkey.write_bytes(Path(os.environ["ECP_INTEROP_VKEY"]).read_bytes())
    return directory, vkey


def copy_writable(source: Path, target: Path) -> None:
    for file in (path for path in source.rglob("*") if path.is_file()):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_python_verifiers_agree_on_tiles_bundles_roots_and_proofs(
    log: tuple[Path, Path], python: Path
) -> None:
    done = toolbox.run(python, toolbox.FOREIGN / "check_log.py", *log)
    assert done.returncode == 0, done.stderr
    assert "entries, root" in done.stdout


@pytest.mark.parametrize("pattern", ["checkpoint", "tile/0/**/*", "tile/entries/**/*"])
def test_python_verifiers_refuse_a_changed_byte(log: tuple[Path, Path], python: Path, pattern: str) -> None:
    flip_a_bit(next(path for path in sorted(log[0].glob(pattern)) if path.is_file()))
    assert toolbox.run(python, toolbox.FOREIGN / "check_log.py", *log).returncode != 0


def test_python_verifiers_count_our_cosignature(tmp_path: Path, python: Path) -> None:
    golden = shared_path("vectors/ledger/golden")
    copy_writable(golden / "log", tmp_path / "log")
    (tmp_path / "log/checkpoint").write_bytes((golden / "checkpoint.cosigned").read_bytes())
    done = toolbox.run(
        python,
        toolbox.FOREIGN / "check_log.py",
        tmp_path / "log",
        golden / "log.vkey",
        golden / "witness.vkey",
    )
    assert done.returncode == 0, done.stderr


def job_for_node(log: tuple[Path, Path], path: Path, *, changed: bool = False) -> Path:
    directory, vkey = log
    note = (directory / "checkpoint").read_text()
    size = Checkpoint.parse(split_note(note)[0]).size
    source = DirectorySource(directory)
    reader = tile_reader(source, size)
    entries = [
        entry.decode()
        for first in range(0, size, TILE_WIDTH)
        for entry in read_bundle(source, first // TILE_WIDTH, min(TILE_WIDTH, size - first))
    ]
    receipts = [
        {"entry": entries[index], "proof": format_proof(index, inclusion_proof(index, size, reader), note)}
        for index in range(0, size, max(1, size // 50))
    ]
    if changed:
        receipts[-1]["entry"] = receipts[-1]["entry"].replace("rcvd", "rcve")
    path.write_text(json.dumps({"vkey": vkey.read_text().strip(), "receipts": receipts, "entries": entries}))
    return path


def test_node_verifiers_agree_on_receipts_and_canonical_form(
    log: tuple[Path, Path], node: Path, tmp_path: Path
) -> None:
    job = job_for_node(log, tmp_path / "job.json")
    done = toolbox.run("node", node, job)
    assert done.returncode == 0, done.stderr
    assert "canonical entries" in done.stdout


def test_node_verifiers_refuse_a_changed_entry(log: tuple[Path, Path], node: Path, tmp_path: Path) -> None:
    job = job_for_node(log, tmp_path / "job.json", changed=True)
    done = toolbox.run("node", node, job)
    assert done.returncode != 0
    assert "calculated root hash does not match" in done.stderr
