"""Where the shared vectors and data lie: `ECP_SHARED`, else the folder `shared` beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


def shared_folder() -> Path:
    return Path(os.environ.get("ECP_SHARED") or PROJECT.parent / "shared")


def shared_path(relative: str) -> Path:
    """File or folder below the shared folder; the test is skipped where it is absent."""
    path = shared_folder() / relative
    if not path.exists():
        pytest.skip(f"{relative} is not at hand: set ECP_SHARED to the folder that holds it")
    return path
