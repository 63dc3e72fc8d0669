r"""A filtered list outside the database: entry lines and the manifest `ecp.list/1` that closes them.

    <entry>\n ...                                         exact entry bytes, ascending positions
    {"as_of":{..},"by":..,"bytes":..,"checkpoint":..,"columns":[..],"count":..,"created":..,"log":..,
     "query":..,"sha256":..,"v":"ecp.list/1","vkey":..}\n

`sha256` and `bytes` are those of all lines before the manifest; in the JSON form those of the array of
entries, in the CSV form those of the file. `as_of` is the tree that the filter was put to; `checkpoint` is
signed over that tree or a larger one. What a filter leaves out cannot be seen from a list (CONSOLE section
12).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ecp_project.kernel.canonical import encode

VERSION = "ecp.list/1"


@dataclass(frozen=True, slots=True)
class ListManifest:
    """What a list was made of, and what its bytes are."""

    log: str
    vkey: str
    checkpoint: str
    query: str
    columns: tuple[str, ...]
    size: int
    root: bytes
    count: int
    length: int
    sha256: str
    created: str
    by: str

    def document(self) -> dict[str, Any]:
        return {
            "v": VERSION,
            "log": self.log,
            "vkey": self.vkey,
            "checkpoint": self.checkpoint,
            "query": self.query,
            "columns": list(self.columns),
            "as_of": {"log": self.log, "size": self.size, "root": self.root.hex()},
            "count": self.count,
            "bytes": self.length,
            "sha256": self.sha256,
            "created": self.created,
            "by": self.by,
        }

    def encoded(self) -> bytes:
        return encode(self.document())
