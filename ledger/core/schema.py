"""JSON Schemas from the tables that the validators use.

`python -m ledger.core.schema [FOLDER]` writes them, without a folder into `schema/`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ecp_project.kernel.canonical import pointer_token
from ledger.core.decision import RECORD
from ledger.core.statement import LEDGER_STATEMENTS

if TYPE_CHECKING:
    from ledger.core.fields import Schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = Path(__file__).resolve().parents[2] / "schema"

_LIMITS = (
    "A schema cannot say all: text must be in Unicode NFC without control characters other than tab and "
    "newline; the 10 characters of an explanation must be visible ones; numbers are integers within 2^53-1"
)


def decision_record() -> Schema:
    return {
        "$schema": DIALECT,
        "$id": "urn:ecp:schema:decision_record",
        "title": "DecisionRecord",
        "description": "One decision of an agent, as submitted to the transparency ledger. "
        f"{_LIMITS}, save in context; context and explanation_detail together have at most 32 KiB.",
        **RECORD.json_schema(),
    }


def statement() -> Schema:
    return {
        "$schema": DIALECT,
        "$id": "urn:ecp:schema:statement",
        "title": "Statement",
        "description": "What the ledger stores, for clients that sign their own statements. "
        f"{_LIMITS}; the bytes are those of RFC 8785, at most 48 KiB.",
        "oneOf": [{"$ref": f"#/$defs/{pointer_token(v)}"} for v in LEDGER_STATEMENTS],
        "$defs": {v: {"title": v, **members.json_schema()} for v, members in LEDGER_STATEMENTS.items()},
    }


def files() -> dict[str, str]:
    """Give the text of each schema file by its name."""
    schemas = {"decision_record.json": decision_record(), "statement.json": statement()}
    return {name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in schemas.items()}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
