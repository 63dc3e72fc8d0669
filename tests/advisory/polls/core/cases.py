"""The shared vectors of polls, by file."""

from __future__ import annotations

import json
from typing import Any

from tests.shared import shared_path


def cases(name: str, kind: str | None = None) -> list[dict[str, Any]]:
    """Cases of one file; the test is skipped where the shared folder is absent."""
    found: list[dict[str, Any]] = json.loads(shared_path(f"vectors/polls/{name}.json").read_text())["cases"]
    chosen = [case for case in found if kind is None or case["kind"] == kind]
    assert chosen, (name, kind)
    return chosen
