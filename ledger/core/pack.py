"""An evidence pack: records with everything that is needed to verify them without us (CONSOLE section 12).

    entries.ndjson                 exact entry bytes, ascending positions
    receipts/<seq>.tlog-proof      one for each entry, all under the same checkpoint
    checkpoint.txt keys.txt policy.txt
    README.txt report.html withheld.json verify.py
    MANIFEST.json                  path, bytes and SHA-256 of every file above
    MANIFEST.sha256                its digest, in the form that `sha256sum -c` reads

The same records under the same checkpoint give the same bytes: no clock, no name of a person, members sorted,
stored without compression, dated 1980-01-01.
"""

from __future__ import annotations

import io
import zipfile
from hashlib import sha256
from typing import TYPE_CHECKING

from ecp_project.kernel.canonical import encode
from ledger.core.proof import format_proof

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION = "ecp.evidence/1"
ENTRIES, CHECKPOINT, KEYS = "entries.ndjson", "checkpoint.txt", "keys.txt"
MANIFEST, MANIFEST_DIGEST = "MANIFEST.json", "MANIFEST.sha256"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a ZIP can say
_REGULAR_0644 = 0o100644 << 16
_UNIX = 3


def receipt_path(seq: int) -> str:
    return f"receipts/{seq}.tlog-proof"


def proven(
    *, entries: Mapping[int, bytes], proofs: Mapping[int, Sequence[bytes]], note: str, vkeys: Sequence[str]
) -> dict[str, bytes]:
    """The files that prove; `vkeys` are the log's keys, the one that signed first."""
    return {
        ENTRIES: b"".join(entries[seq] + b"\n" for seq in sorted(entries)),
        CHECKPOINT: note.encode(),
        KEYS: "".join(f"{vkey}\n" for vkey in vkeys).encode(),
        "policy.txt": "".join(f"log {vkey}\n" for vkey in vkeys).encode() + b"quorum none\n",
        **{receipt_path(seq): format_proof(seq, proofs[seq], note).encode() for seq in sorted(entries)},
    }


def manifested(
    files: Mapping[str, bytes], *, origin: str, size: int, records: Sequence[int]
) -> dict[str, bytes]:
    """The files with their manifest and its digest; `records` are the positions that were asked for."""
    listed = [
        {"bytes": len(files[path]), "path": path, "sha256": sha256(files[path]).hexdigest()}
        for path in sorted(files)
    ]
    document = {"files": listed, "log": origin, "records": sorted(records), "size": size, "v": VERSION}
    manifest = encode(document) + b"\n"
    return {**files, MANIFEST: manifest, MANIFEST_DIGEST: digest_line(manifest)}


def digest_line(manifest: bytes) -> bytes:
    return f"{sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def zipped(files: Mapping[str, bytes]) -> bytes:
    with io.BytesIO() as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(files):
                member = zipfile.ZipInfo(path, _EPOCH)
                member.create_system, member.external_attr = _UNIX, _REGULAR_0644
                archive.writestr(member, files[path])
        return stream.getvalue()
