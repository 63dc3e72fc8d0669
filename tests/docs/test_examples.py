"""The examples of the documents run as they stand, against a served ledger with a running checkpointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.documents import PROJECT
from tests.docs.shell import Shell, has_curl
from tests.served import come_to_rest, settle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


@pytest.mark.skipif(not has_curl(), reason="curl is not installed")
@pytest.mark.parametrize(
    ("name", "organisation"),
    [("README.md", "northwind-retail"), ("docs/API.md", "acme"), ("docs/CLIENTS.md", "acme")],
)
def test_examples_run_and_print_what_the_document_shows(
    served: dict[str, str], settings: Any, tmp_path: Path, name: str, organisation: str
) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]  # as the server's
    folder = tmp_path / "checkout"
    folder.mkdir()
    surroundings = served | settle(served, organisation) | {
        # as after `pip install ./clients/python`
        "PYTHONPATH": str(PROJECT / "clients" / "python" / "src"),
        "PATH": f"{folder / '.venv' / 'bin'}:{served['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }  # fmt: skip
    Shell(folder, surroundings, come_to_rest).run(PROJECT / name)
