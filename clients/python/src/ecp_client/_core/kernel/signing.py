# A copy of ecp_project/kernel/signing.py, made by clients/python/copy_core.py; change it there.
"""Ed25519 with one answer everywhere (LEDGER section 6, SECURITY section 9).

RFC 8032 leaves edge cases to the implementation, and libraries differ in them: of the 914 vectors of C2SP
CCTV OpenSSL accepts 208, libsodium 43. A pure check before the library refuses what they disagree on: a
public key A or a point R whose y coordinate is not reduced modulo p or whose order divides 8, and an S that
is not below L. A point with x = 0 and the sign bit set has order 1 or 2 and so falls under the same check.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES = 32
SIGNATURE_BYTES = 64

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_Y_MASK = (1 << 255) - 1

# y of the points whose order divides 8: identity, order 2, order 4, and the two y of order 8.
_SMALL_ORDER_Y = frozenset(
    {
        1,
        _P - 1,
        0,
        int.from_bytes(
            bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
        ),
        int.from_bytes(
            bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"
        ),
    }
)


def kid_of(public_key: bytes) -> str:
    return b64url(sha256(public_key).digest()[:16])


def public_from_seed(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the signature is good under the strict rule; never raises for foreign bytes."""
    if len(signature) != SIGNATURE_BYTES or not _is_sound_encoding(signature[:32]):
        return False
    if int.from_bytes(signature[32:], "little") >= _L:
        return False
    key = _loaded_key(public_key)
    if key is None:
        return False
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def key_is_registrable(public_key: bytes) -> bool:
    """Whether a public key may be registered: sound encoding of a point in the subgroup of order L.

    The multiplication by L costs milliseconds, so it is made once at registration and not at each use.
    """
    if not _is_sound_encoding(public_key):
        return False
    point = _decompress(public_key)
    return point is not None and _is_identity(_multiply(_L, point))


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def b64url(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    """Bytes of unpadded base64url; ValueError unless they encode to the same text again.

    Common decoders skip foreign characters and ignore the spare bits of the last one, which would give one
    signature many spellings.
    """
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("not base64url") from None
    if b64url(data) != text:
        raise ValueError("not canonical base64url")
    return data


@lru_cache(maxsize=1024)
def _loaded_key(public_key: bytes) -> Ed25519PublicKey | None:
    if not _is_sound_encoding(public_key):
        return None
    try:
        return Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError:
        return None


def _is_sound_encoding(encoded: bytes) -> bool:
    if len(encoded) != KEY_BYTES:
        return False
    y = int.from_bytes(encoded, "little") & _Y_MASK
    return y < _P and y not in _SMALL_ORDER_Y


class _Point(NamedTuple):
    """Extended homogeneous coordinates of RFC 8032 section 5.1.4: x = X/Z, y = Y/Z, x * y = T/Z."""

    x: int
    y: int
    z: int
    t: int


def _decompress(encoded: bytes) -> _Point | None:
    """RFC 8032 section 5.1.3: None when no point of the curve has this y."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & _Y_MASK
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P != u:
        x = x * _SQRT_OF_MINUS_ONE % _P
        if v * x * x % _P != u:
            return None
    if x & 1 != sign:
        x = _P - x
    return _Point(x, y, 1, x * y % _P)


def _add(p: _Point, q: _Point) -> _Point:
    """Add by the complete formulas of RFC 8032 section 5.1.4, which also double."""
    a = (p.y - p.x) * (q.y - q.x) % _P
    b = (p.y + p.x) * (q.y + q.x) % _P
    c = 2 * p.t * q.t * _D % _P
    d = 2 * p.z * q.z % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return _Point(e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _multiply(scalar: int, point: _Point) -> _Point:
    result = _Point(0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _is_identity(point: _Point) -> bool:
    return point.x % _P == 0 and (point.y - point.z) % _P == 0
