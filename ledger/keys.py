"""The ledger's key files.

The signing seed (checkpointer alone) and the public keys that every process reads.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from ecp_project.kernel.signing import b64url, b64url_decode, kid_of, public_from_seed
from ledger.core.note import Signer, Verifier, make_vkey

if TYPE_CHECKING:
    from pathlib import Path

SEED_HEADER = "ecp-ledger-signing-key/v1"
SEED_BYTES = 32
PUBLIC_VERSION = "ecp.log-public-keys/1"


def write_signing_key(path: Path, seed: bytes) -> None:
    """A new file with mode 0400; an existing key is never overwritten."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{SEED_HEADER}\n{b64url(seed)}\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_signing_key(path: Path) -> bytes:
    """The 32-byte seed. A file that others may read is refused."""
    try:
        mode = path.stat().st_mode
        header, text = path.read_text(encoding="ascii").split()
        seed = b64url_decode(text)
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(
            f"no ledger signing key in {path.name}: run `manage.py ledger_keygen`"
        ) from error
    if header != SEED_HEADER or len(seed) != SEED_BYTES:
        raise ImproperlyConfigured(f"{path.name} is no ledger signing key")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ImproperlyConfigured(f"{path.name} is open to others; set its mode to 0400")
    return seed


def read_public_keys(path: Path) -> list[bytes]:
    """Public halves, newest last; empty while no key was made."""
    if not path.exists():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("v") != PUBLIC_VERSION:
        raise ImproperlyConfigured(f"{path.name} is no list of ledger public keys")
    return [b64url_decode(key["public_key"]) for key in document["keys"]]


def add_public_key(path: Path, seed: bytes) -> None:
    keys = [*read_public_keys(path), public_from_seed(seed)]
    document = {
        "v": PUBLIC_VERSION,
        "keys": [{"kid": kid_of(key), "public_key": b64url(key)} for key in keys],
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def verifiers(path: Path, origin: str) -> list[Verifier]:
    """One verifier for each public key, under the name of one log.

    The origin separates logs that share a key.
    """
    return [Verifier(make_vkey(origin, key)) for key in read_public_keys(path)]


def signer(seed: bytes, origin: str) -> Signer:
    return Signer(origin, seed)
