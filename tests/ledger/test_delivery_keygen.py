"""`delivery_keygen` makes one key, keeps it from others, and never replaces it."""

from __future__ import annotations

import stat
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from ecp_project.api import delivery
from ecp_project.kernel.signing import kid_of, public_from_seed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


@pytest.fixture
def key_file(settings: Any, tmp_path: Path) -> Path:
    settings.ECP_DELIVERY_KEY_FILE = tmp_path / "keys" / "delivery.key"
    settings.ECP_DELIVERY_PUBLIC_KEYS = tmp_path / "keys" / "delivery-keys.json"
    found: Path = settings.ECP_DELIVERY_KEY_FILE
    return found


def test_key_is_made_once_and_published(key_file: Path) -> None:
    told = StringIO()
    call_command("delivery_keygen", stdout=told)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o400
    kid = kid_of(public_from_seed(delivery.read_seed()))
    assert kid in told.getvalue()
    assert [key["kid"] for key in delivery.public_keys()] == [kid]
    call_command("delivery_keygen", "--if-missing")
    with pytest.raises(CommandError, match="already"):
        call_command("delivery_keygen")
    assert kid_of(public_from_seed(delivery.read_seed())) == kid


@pytest.mark.parametrize("content", ["", "ecp-delivery-key/v1\nshort\n", "another/v1\n" + "A" * 43 + "\n"])
def test_file_that_is_no_key_is_refused(content: str, key_file: Path) -> None:
    key_file.parent.mkdir()
    key_file.write_text(content, encoding="ascii")
    key_file.chmod(0o400)
    with pytest.raises(ImproperlyConfigured):
        delivery.read_seed()


def test_key_that_others_may_read_is_refused(key_file: Path) -> None:
    call_command("delivery_keygen", stdout=StringIO())
    key_file.chmod(0o444)
    with pytest.raises(ImproperlyConfigured, match="0400"):
        delivery.read_seed()
