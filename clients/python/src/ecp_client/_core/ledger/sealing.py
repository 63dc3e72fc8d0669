# A copy of ledger/core/sealing.py, made by clients/python/copy_core.py; change it there.
"""Sealed values: commitment, ciphertext and keys derived from the MAC root (LEDGER section 5).

A commitment hides its value, where an unsalted hash of a short value could be guessed; it binds it; and it
is tied to one id and one pointer. The ciphertext carries the opening `r`, so that deleting the data subject's
key takes the value and every way to test a guess with it.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ecp_client._core.kernel.signing import b64url

OPENING_BYTES = 32
NONCE_BYTES = 12
KEY_BYTES = 32

_DOMAIN = "ecp-sealed/v1\n"


def commitment(r: bytes, uid: str, ptr: str, value_jcs: bytes) -> str:
    message = f"{_DOMAIN}{uid}\n{ptr}\n".encode("ascii") + value_jcs
    return b64url(hmac.digest(r, message, "sha256"))


def aad(origin: str, uid: str, ptr: str) -> bytes:
    """Bind a ciphertext to its log, statement and pointer, so that none can be moved."""
    return f"{_DOMAIN}{origin}\n{uid}\n{ptr}".encode("ascii")


def seal(dek: bytes | AESGCM, nonce: bytes, context: bytes, r: bytes, value_jcs: bytes) -> bytes:
    """Encrypt `r || value`; `dek` may be a loaded cipher when one key seals several parts."""
    if len(r) != OPENING_BYTES or len(nonce) != NONCE_BYTES:
        raise AssertionError(f"opening of {len(r)} bytes, nonce of {len(nonce)} bytes")
    return _cipher(dek).encrypt(nonce, r + value_jcs, context)


def unseal(dek: bytes | AESGCM, nonce: bytes, context: bytes, ciphertext: bytes) -> tuple[bytes, bytes]:
    """Decrypt to `(r, value_jcs)`; cryptography's InvalidTag for another key, place or altered bytes."""
    plain = _cipher(dek).decrypt(nonce, ciphertext, context)
    return plain[:OPENING_BYTES], plain[OPENING_BYTES:]


def derive(mac_root: bytes, info: bytes) -> bytes:
    """Derive a purpose's key from the MAC root by HKDF-SHA256 without salt (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(mac_root)


def _cipher(dek: bytes | AESGCM) -> AESGCM:
    return dek if isinstance(dek, AESGCM) else AESGCM(dek)
