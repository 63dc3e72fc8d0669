"""Keys that keep a poll blind: its secret until the draw, its answers until the close (POLLS section 4)."""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from advisory.polls.core.answers import pad, unpad
from ecp_project.kernel.canonical import encode, parse_statement
from ledger.services import sealing

if TYPE_CHECKING:
    from uuid import UUID

    from advisory.polls.models import Poll

KEY_BYTES = 32
NONCE_BYTES = 12
MAX_SEALED = 65_536


def new_keys(poll: Poll, *, secret: bytes) -> None:
    """Wrap the secret and a fresh key of the answers under the KEK, bound to this poll."""
    poll.kek_id, poll.wrapped_secret = sealing.wrap(secret, _label("secret", poll.id))
    _, poll.wrapped_key = sealing.wrap(os.urandom(KEY_BYTES), _label("answers", poll.id))


def labels_of(poll: Poll) -> dict[str, bytes]:
    """Columns of the poll that hold a wrapped key now, with what each is bound to."""
    labels = {"wrapped_secret": _label("secret", poll.id), "wrapped_key": _label("answers", poll.id)}
    return {column: label for column, label in labels.items() if getattr(poll, column) is not None}


def secret_of(poll: Poll) -> bytes:
    return sealing.unwrap(poll.kek_id, bytes(poll.wrapped_secret or b""), _label("secret", poll.id))


def answer_key(poll: Poll) -> bytes:
    return sealing.unwrap(poll.kek_id, bytes(poll.wrapped_key or b""), _label("answers", poll.id))


def seal(key: bytes, response_id: UUID, document: dict[str, Any]) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, pad(encode(document)), response_id.bytes)


def unseal(key: bytes, response_id: UUID, sealed: bytes) -> dict[str, Any]:
    padded = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], response_id.bytes)
    return parse_statement(unpad(padded), max_bytes=MAX_SEALED)


def nonce_mac(key: bytes, nonce: str) -> bytes:
    """Recognise a nonce without keeping it: it is what makes the published hash unguessable."""
    return hmac.digest(key, b"nonce\n" + nonce.encode(), "sha256")


def _label(what: str, poll_id: UUID) -> bytes:
    return f"ecp-poll-{what}/v1\n{poll_id}".encode()
