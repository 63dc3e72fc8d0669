"""Verifiers that others wrote accept our logs and receipts, and refuse them once a byte is changed.

`ECP_INTEROP_LOG` (static log directory) and `ECP_INTEROP_VKEY` (its key file) name a log of your own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ledger.core.export import write_log
from ledger.core.merkle import inclusion_proof
from ledger.core.note import Checkpoint, split_note
from ledger.core.proof import format_proof
from ledger.core.tiles import TILE_WIDTH, tile_path, tiles_of
from ledger.core.verify.sources import DirectorySource, read_bundle, tile_reader
from tests.installation import PROJECT, Installation, needs_binaries
from tests.interop import toolbox
from tests.ledger.core.sample_log import sample_log
from tests.shared import shared_path

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.interop

SIZE = 1_100
DEMO = "northwind-retail"


@pytest.fixture(scope="module")
def python() -> Path:
    return toolbox.python_with_verifiers()


@pytest.fixture(scope="module")
def node() -> Path:
    return toolbox.node_program()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What `make run` writes and serves: `exported` by the command, `served` over HTTP, and `log.vkey`."""
    folder = tmp_path_factory.mktemp("demo")
    with Installation(folder / "home") as installation:
        key = re.search(r"ecp_\w{8}_[\w-]{43}", installation.start())
        assert key is not None
        command = [
            sys.executable,
            "manage.py",
            "ledger_export",
            "--log",
            DEMO,
            "--to",
            str(folder / "exported"),
        ]
        servers = json.loads((folder / "home/state/servers.json").read_text(encoding="utf-8"))
        addresses = {name: url for name, url in servers.items() if isinstance(url, str)}
        subprocess.run(  # noqa: S603 - our own command
            command, cwd=PROJECT, env=installation.surroundings | addresses, check=True, capture_output=True
        )
        download(f"http://127.0.0.1:{installation.port}", key[0], folder)
        yield folder


def download(address: str, key: str, folder: Path) -> None:
    """Take checkpoint, tiles, bundles and key of the served log, as any client of C2SP tlog-tiles does."""

    def get(path: str) -> bytes:
        request = urllib.request.Request(address + path, headers={"Authorization": f"Bearer {key}"})  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            return bytes(answer.read())

    checkpoint = get(f"/log/{DEMO}/checkpoint")
    size = Checkpoint.parse(split_note(checkpoint.decode())[0]).size
    paths = [tile_path(level, index, width) for level, index, width in tiles_of(size)]
    paths += [tile_path("entries", index, width) for level, index, width in tiles_of(size) if level == 0]
    (folder / "served").mkdir()
    (folder / "served/checkpoint").write_bytes(checkpoint)
    for path in paths:
        file = folder / "served" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(get(f"/log/{DEMO}/{path}"))
    logs = json.loads(get("/api/v1/logs/"))["results"]
    (folder / "log.vkey").write_text(logs[0]["vkeys"][0], encoding="utf-8")


@pytest.fixture(
    params=[
        "made here",
        "golden",
        pytest.param("exported", marks=needs_binaries),
        pytest.param("served", marks=needs_binaries),
        "your own",
    ]
)
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
        case "exported" | "served":
            demo: Path = request.getfixturevalue("demo")
            copy_writable(demo / request.param, directory)
            vkey.write_bytes((demo / "log.vkey").read_bytes())
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
