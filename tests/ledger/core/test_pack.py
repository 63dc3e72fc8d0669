"""Evidence packs without a database: deterministic bytes, and no byte that can change unnoticed."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.canonical import encode
from ledger.core import pack
from ledger.core.merkle import inclusion_proof
from ledger.core.note import Checkpoint, Signer, sign_checkpoint
from ledger.core.tiles import TileReader
from ledger.core.verify.bundle import verifier_file
from ledger.core.verify.command import FAILED, INCOMPLETE, SOUND, USAGE, main
from ledger.core.verify.packed import check_pack, read_pack
from tests.ledger.core.sample_log import SampleLog, sample_log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

pytestmark = pytest.mark.unit

RECORDS = (3, 7, 11)


def made(log: SampleLog, records: Sequence[int] = RECORDS) -> dict[str, bytes]:
    nodes = TileReader(len(log.entries), lambda _level, _index, _width: b"".join(log.leaves))
    files = pack.proven(
        entries={seq: log.entries[seq] for seq in records},
        proofs={seq: inclusion_proof(seq, len(log.entries), nodes) for seq in records},
        note=log.notes[-1],
        vkeys=[log.signer.vkey],
    ) | {
        "README.txt": b"Read me.\n",
        "report.html": b"<!doctype html>\n",
        "withheld.json": b"{}\n",
        "verify.py": verifier_file(),
    }
    return pack.manifested(files, origin=log.origin, size=len(log.entries), records=records)


@pytest.fixture(scope="module")
def log() -> SampleLog:
    return sample_log(20, signed=[3])


@pytest.fixture(scope="module")
def files(log: SampleLog) -> dict[str, bytes]:
    return made(log)


def unpacked(files: Mapping[str, bytes], folder: Path) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_same_records_under_the_same_checkpoint_give_the_same_bytes(log: SampleLog) -> None:
    first = pack.zipped(made(log))
    assert first == pack.zipped(dict(reversed(made(log, tuple(reversed(RECORDS))).items())))
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        members = archive.infolist()
    assert [member.filename for member in members] == sorted(member.filename for member in members)
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    assert {member.compress_type for member in members} == {zipfile.ZIP_STORED}
    assert {member.external_attr >> 16 for member in members} == {stat.S_IFREG | 0o644}


def test_pack_has_the_files_of_the_design(files: Mapping[str, bytes]) -> None:
    receipts = {f"receipts/{seq}.tlog-proof" for seq in RECORDS}
    assert set(files) == receipts | {
        "README.txt", "report.html", "entries.ndjson", "checkpoint.txt", "keys.txt", "policy.txt",
        "verify.py", "withheld.json", "MANIFEST.json", "MANIFEST.sha256",
    }  # fmt: skip


def test_whole_pack_is_sound_as_folder_and_as_zip(
    files: Mapping[str, bytes], log: SampleLog, tmp_path: Path
) -> None:
    folder = unpacked(files, tmp_path / "pack")
    (folder / ".DS_Store").write_bytes(b"left behind by a file manager")
    archive = tmp_path / "pack.zip"
    archive.write_bytes(pack.zipped(files))
    vkey = log.write_vkey(tmp_path / "vkey")
    digest = files[pack.MANIFEST_DIGEST].decode().split()[0]
    for place in (folder, archive):
        assert main(["pack", str(place)]) == SOUND
        assert main(["pack", str(place), "--vkey", str(vkey), "--manifest", digest]) == SOUND


@pytest.mark.parametrize("seed", range(3))
def test_no_byte_of_any_file_can_change_unnoticed(files: Mapping[str, bytes], seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a repeatable choice
    for path, data in files.items():
        for at in {0, len(data) - 1, random.randrange(len(data)), random.randrange(len(data))}:
            changed = bytearray(data)
            changed[at] ^= 1 << random.randrange(8)
            assert not check_pack({**files, path: bytes(changed)}).ok, (path, at)


def test_no_byte_of_the_zip_around_them_can_change_unnoticed(
    files: Mapping[str, bytes], tmp_path: Path
) -> None:
    small = {**files, "verify.py": b"pass\n"}
    raw = pack.zipped(
        pack.manifested(
            {path: data for path, data in small.items() if not path.startswith("MANIFEST")},
            origin="ecp.test/log/sample",
            size=20,
            records=RECORDS,
        )
    )
    place = tmp_path / "pack.zip"
    place.write_bytes(raw)
    assert check_pack(*_arguments(place)).ok
    for at in range(0, len(raw), 7):
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 8
        place.write_bytes(changed)
        try:
            found, fault = read_pack(place)
        except OSError:  # no manifest under its name any more
            continue
        assert not check_pack(found, fault=fault).ok, at


def _arguments(place: Path) -> tuple[dict[str, bytes]]:
    files, fault = read_pack(place)
    assert not fault
    return (files,)


def resealed(files: Mapping[str, bytes], **changes: bytes) -> dict[str, bytes]:
    """The pack as a forger makes it, who writes manifest and digest anew."""
    document = json.loads(files[pack.MANIFEST])
    kept = {path: data for path, data in files.items() if not path.startswith("MANIFEST")}
    return pack.manifested(
        kept | changes, origin=document["log"], size=document["size"], records=document["records"]
    )


def test_forged_entry_under_a_new_manifest_is_found(files: Mapping[str, bytes]) -> None:
    entries = files[pack.ENTRIES].replace(b"Decision 7.", b"Decision 8.")
    report = check_pack(resealed(files, **{pack.ENTRIES: entries}))
    assert (report.kind, report.first_bad_seq) == ("leaf_mismatch", 7)


def test_log_that_somebody_made_up_passes_by_its_own_key_alone(
    log: SampleLog, files: Mapping[str, bytes]
) -> None:
    forger = Signer(log.origin, b"\x09" * 32)
    text = Checkpoint.parse(log.notes[-1].partition("\n\n")[0] + "\n")
    note = sign_checkpoint(text, forger)
    changes = {
        path: data.replace(log.notes[-1].encode(), note.encode())
        for path, data in files.items()
        if path.startswith("receipts/")
    } | {pack.CHECKPOINT: note.encode(), pack.KEYS: f"{forger.vkey}\n".encode()}
    forged = resealed(files, **changes)
    own = check_pack(forged)
    assert own.ok
    assert "by the key that it brings itself" in own.verdict()
    assert check_pack(forged, log.verifier).kind == "checkpoint_signature"


def test_manifest_that_is_not_the_recorded_one_is_found(files: Mapping[str, bytes]) -> None:
    assert check_pack(files, digest="0" * 64).kind == "entry_syntax"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda files: files | {"extra.html": b"<script>"}, "entry_syntax"),
        (lambda files: files | {pack.MANIFEST: b"[1.5]"}, "entry_syntax"),
        (
            lambda files: files | {pack.MANIFEST: b'{"files":[],"n":1.5,"v":"ecp.evidence/1"}\n'},
            "entry_syntax",
        ),
        (lambda files: resealed(files, **{pack.KEYS: b"no key\n"}), "checkpoint_signature"),
        (lambda files: resealed(files, **{pack.CHECKPOINT: b"no note\n"}), "checkpoint_signature"),
        (lambda files: resealed(files, **{pack.ENTRIES: b"no entry\n"}), "entry_syntax"),
        (
            lambda files: resealed(
                files, **{pack.ENTRIES: b"".join(reversed(files[pack.ENTRIES].splitlines(keepends=True)))}
            ),
            "seq_duplicate",
        ),
        (
            lambda files: resealed(files, **{pack.ENTRIES: files[pack.ENTRIES].partition(b"\n")[0] + b"\n"}),
            "truncated",
        ),
        (
            lambda files: resealed(files, **{"receipts/3.tlog-proof": files["receipts/7.tlog-proof"]}),
            "leaf_mismatch",
        ),
    ],
)
def test_pack_that_does_not_fit_together_fails(files: dict[str, bytes], change: Any, kind: str) -> None:
    assert check_pack(change(dict(files))).kind == kind


def test_manifest_of_another_checkpoint_is_found(files: Mapping[str, bytes]) -> None:
    kept = {path: data for path, data in files.items() if not path.startswith("MANIFEST")}
    other = pack.manifested(kept, origin="ecp.test/log/sample", size=19, records=RECORDS)
    assert check_pack(other).kind == "root_mismatch"


@pytest.mark.parametrize("path", ["receipts/7.tlog-proof", "entries.ndjson", "README.txt", "MANIFEST.sha256"])
def test_missing_file_is_incomplete_evidence(files: Mapping[str, bytes], path: str) -> None:
    report = check_pack({name: data for name, data in files.items() if name != path})
    assert report.incomplete
    assert report.ok or path == "entries.ndjson"


def test_record_without_its_entry_is_incomplete_evidence(files: Mapping[str, bytes]) -> None:
    kept = {path: data for path, data in files.items() if not path.startswith("MANIFEST")}
    report = check_pack(pack.manifested(kept, origin="ecp.test/log/sample", size=20, records=[*RECORDS, 12]))
    assert report.ok
    assert report.incomplete == "record 12 is missing"


# --- verify.py


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Surroundings of a Python that has `cryptography` and nothing else installed."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("cryptography", "cffi", "_cffi_backend"):
        spec = find_spec(name)
        if spec is not None and spec.origin:
            origin = Path(spec.origin)
            source = origin.parent if origin.name == "__init__.py" else origin
            (folder / source.name).symlink_to(source)
    return {"PYTHONPATH": str(folder), "PATH": os.environ["PATH"]}


def verify_py(folder: Path, bare: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", str(folder / "verify.py"), *arguments]
    return subprocess.run(  # noqa: S603 - our own file
        command, cwd=folder, env=bare, capture_output=True, text=True, timeout=60, check=False
    )


def test_bundled_verifier_needs_nothing_but_cryptography(
    files: Mapping[str, bytes], bare: dict[str, str], tmp_path: Path
) -> None:
    folder = unpacked(files, tmp_path)
    done = verify_py(folder, bare)
    assert done.returncode == SOUND, done.stderr
    assert "SOUND: the evidence pack" in done.stdout
    assert not list(folder.rglob("__pycache__"))


def test_exit_codes_of_the_bundled_verifier(
    files: Mapping[str, bytes], bare: dict[str, str], tmp_path: Path
) -> None:
    folder = unpacked(files, tmp_path)
    assert verify_py(folder, bare, "no-such-command").returncode == USAGE
    assert verify_py(folder, bare, "pack", str(tmp_path / "nowhere")).returncode == USAGE
    (folder / "receipts/7.tlog-proof").unlink()
    assert verify_py(folder, bare).returncode == INCOMPLETE
    (folder / "README.txt").write_bytes(b"Trust me.\n")
    assert verify_py(folder, bare).returncode == FAILED
    (folder / pack.MANIFEST).unlink()
    assert verify_py(folder, bare).returncode == USAGE


def test_bundle_holds_the_published_modules_word_for_word() -> None:
    text = verifier_file().decode()
    _, _, after = text.partition("\n#= ledger.core.merkle\n")
    lines = after.partition("\n\n#= ")[0].splitlines()
    found = "\n".join(line[3:] for line in lines) + "\n"
    spec = find_spec("ledger.core.merkle")
    assert spec is not None
    assert found == Path(str(spec.origin)).read_text(encoding="utf-8")
    assert verifier_file() is verifier_file()


def test_manifest_is_canonical_and_its_digest_is_in_the_form_of_sha256sum(files: Mapping[str, bytes]) -> None:
    assert encode(json.loads(files[pack.MANIFEST])) + b"\n" == files[pack.MANIFEST]
    assert files[pack.MANIFEST_DIGEST].endswith(b"  MANIFEST.json\n")
