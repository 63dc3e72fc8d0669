"""The examples of the documents run as they stand, against a served ledger with a running checkpointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps

from ledger.models import Cursor, Entry, Organisation, Role
from tests.docs.documents import PROJECT
from tests.docs.shell import Shell, has_curl
from tests.people import person
from tests.served import come_to_rest, manage, settle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e
RECONCILE = "from advisory.friction.tasks import reconcile; reconcile()"


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


@pytest.mark.skipif(not has_curl(), reason="curl is not installed")
@pytest.mark.skipif(not apps.is_installed("advisory.friction"), reason="friction is not installed")
def test_the_tutorial_of_friction_runs(served: dict[str, str], settings: Any, tmp_path: Path) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]  # as the server's
    folder = tmp_path / "checkout"
    folder.mkdir()
    surroundings = served | settle(served, "acme")
    bea = person("bea", Organisation.objects.get(slug="acme"), Role.ADMIN)
    bea.set_password(surroundings["PASSWORD"])
    bea.save(update_fields=["password"])

    def fifteen_seconds_later() -> None:
        """The worker's turn; in a process of the installation, which has the keys to what is private."""
        come_to_rest()
        decided = Entry.objects.filter(kind="ecp.decision/1").order_by("-seq").first()
        done = Cursor.objects.filter(name="friction.reconcile").first()
        if decided is not None and (done is None or done.next_seq <= decided.seq):
            manage(surroundings, "shell", "--no-imports", "-v", "0", "-c", RECONCILE)

    more = {
        "PYTHONPATH": str(PROJECT / "clients" / "python" / "src"),
        "PATH": f"{folder / '.venv' / 'bin'}:{served['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    Shell(folder, surroundings | more, fifteen_seconds_later).run(PROJECT / "docs" / "FRICTION.md")
