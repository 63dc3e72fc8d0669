"""Keys for private values: KEK, MAC root, subject keys; sealing and opening of parts (LEDGER section 5)."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import IntegrityError, transaction

from ecp_project.kernel.errors import Unavailable
from ecp_project.kernel.ids import new_row_id
from ecp_project.kernel.signing import b64url
from ledger.core.sealing import aad, derive, seal, unseal
from ledger.models import MacRoot, SealedPart, SubjectKey
from ledger.rows import KeyRow, SealedRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from ledger.core.decision import Part

KEY_BYTES = 32
NONCE_BYTES = 12
IDEM_INFO = b"ecp-idem/v1"
HANDLE_INFO = b"ecp-handle/v1"
ERASURES_IN_A_ROW = 5


def kek_id(kek: bytes) -> str:
    return b64url(sha256(b"ecp-kek/v1\n" + kek).digest()[:16])


@lru_cache(maxsize=8)
def _ring(current: bytes, fallbacks: tuple[bytes, ...]) -> Mapping[str, AESGCM]:
    """Ciphers by KEK id; the current one comes first."""
    return {kek_id(kek): AESGCM(kek) for kek in (current, *fallbacks)}


def _keks() -> Mapping[str, AESGCM]:
    return _ring(settings.ECP_KEK, tuple(settings.ECP_KEK_FALLBACKS))


def wrap(key: bytes, label: bytes) -> tuple[str, bytes]:
    """(KEK id, nonce || ciphertext) of a 32-byte key; `label` binds it to its row."""
    name, current = next(iter(_keks().items()))
    nonce = os.urandom(NONCE_BYTES)
    return name, nonce + current.encrypt(nonce, key, label)


def unwrap(name: str, wrapped: bytes, label: bytes) -> bytes:
    """The key again. LookupError names the KEK that is missing from ECP_KEK and ECP_KEK_FALLBACKS."""
    ring = _keks()
    if name not in ring:
        raise LookupError(f"key encryption key {name} is neither ECP_KEK nor in ECP_KEK_FALLBACKS")
    return ring[name].decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], label)


def dek_label(key_id: UUID) -> bytes:
    return b"ecp-dek/v1\n" + key_id.bytes


MAC_ROOT_LABEL = b"ecp-mac-root/v1"


def mac_root(now: datetime) -> bytes:
    """The installation's MAC root; made on first use."""
    row = MacRoot.objects.filter(pk=1).first()
    if row is None:
        name, wrapped = wrap(os.urandom(KEY_BYTES), MAC_ROOT_LABEL)
        try:
            with transaction.atomic():
                row = MacRoot.objects.create(pk=1, kek_id=name, wrapped=wrapped, created=now)
        except IntegrityError:  # another process made it at the same moment
            row = MacRoot.objects.get(pk=1)
    return unwrap(row.kek_id, bytes(row.wrapped), MAC_ROOT_LABEL)


@dataclass(frozen=True, slots=True)
class MacKeys:
    """Keys derived from the MAC root: one recognises repeated records, one finds a data subject's handle."""

    idem: bytes
    handle: bytes


_mac_keys: list[MacKeys] = []  # at most one; the root never changes, only its wrapping does


def mac_keys(now: datetime) -> MacKeys:
    if not _mac_keys:
        root = mac_root(now)
        _mac_keys.append(MacKeys(derive(root, IDEM_INFO), derive(root, HANDLE_INFO)))
    return _mac_keys[0]


def forget_keys() -> None:
    """Drop what this process has cached, as after a restore of another MAC root."""
    _mac_keys.clear()
    _subject_keys.clear()


def request_mac(document: bytes, now: datetime) -> bytes:
    return hmac.digest(mac_keys(now).idem, document, "sha256")


def handle_mac(organisation: str, handle: str, now: datetime) -> bytes:
    """A handle is searched for within one organisation only, so the organisation is part of the MAC."""
    return hmac.digest(mac_keys(now).handle, f"{organisation}\n{handle}".encode(), "sha256")


class SubjectDek(NamedTuple):
    id: UUID
    dek: AESGCM
    row: KeyRow | None  # to be stored with the parts; None when it is stored already


_subject_keys: dict[bytes, SubjectDek] = {}
_MAX_CACHED = 4_096


def fresh_key(now: datetime) -> SubjectDek:
    """A key for one decision; it is stored in the same transaction as the parts it seals."""
    key_id, dek = new_row_id(now), os.urandom(KEY_BYTES)
    return SubjectDek(key_id, AESGCM(dek), KeyRow(key_id, *wrap(dek, dek_label(key_id))))


def subject_key(mac: bytes, now: datetime) -> SubjectDek:
    """The stored key of a data subject, made on first use. The flush checks that it still exists."""
    cached = _subject_keys.get(mac)
    if cached is not None:
        return cached
    row = _stored_key(mac, now)
    dek = unwrap(row.kek_id, bytes(row.wrapped_dek), dek_label(row.id))
    found = SubjectDek(row.id, AESGCM(dek), None)
    if len(_subject_keys) >= _MAX_CACHED:
        _subject_keys.clear()
    _subject_keys[mac] = found
    return found


def _stored_key(mac: bytes, now: datetime) -> SubjectKey:
    for _ in range(ERASURES_IN_A_ROW):
        key_id, dek = new_row_id(now), os.urandom(KEY_BYTES)
        name, wrapped = wrap(dek, dek_label(key_id))
        with transaction.atomic():
            SubjectKey.objects.bulk_create(
                [SubjectKey(id=key_id, handle_mac=mac, kek_id=name, wrapped_dek=wrapped, created=now)],
                ignore_conflicts=True,
            )
        row = SubjectKey.objects.filter(handle_mac=mac).first()
        if row is not None:
            return row
        # There was one, so none was made, and it has been erased since.
    raise Unavailable("ledger_busy", "the data subject is being erased; nothing was stored", retry_after=1)


def seal_parts(
    *,
    origin: str,
    organisation: str,
    uid: UUID,
    parts: Sequence[Part],
    data_subject: str | None,
    data_subjects: Mapping[str, str],
    now: datetime,
) -> tuple[list[SealedRow], list[KeyRow]]:
    """Encrypt each part under the key of its subject.

    `data_subjects[ptr]`, else `data_subject`, else the decision.
    """
    rows: list[SealedRow] = []
    keys: dict[str | None, SubjectDek] = {}
    nonces, uid_text = os.urandom(NONCE_BYTES * len(parts)), str(uid)
    for number, part in enumerate(parts):
        handle = data_subjects.get(part.ptr, data_subject)
        key = keys.get(handle)
        if key is None:
            key = (
                fresh_key(now) if handle is None else subject_key(handle_mac(organisation, handle, now), now)
            )
            keys[handle] = key
        nonce = nonces[number * NONCE_BYTES : (number + 1) * NONCE_BYTES]
        rows.append(_sealed(key, nonce, aad(origin, uid_text, part.ptr), part, now))
    return rows, [key.row for key in keys.values() if key.row is not None]


def _sealed(key: SubjectDek, nonce: bytes, context: bytes, part: Part, now: datetime) -> SealedRow:
    ciphertext = seal(key.dek, nonce, context, part.r, part.value_jcs)
    # A key that is stored with its parts cannot have been erased before them.
    reseal = partial(_resealed, key.id, context, part, now) if key.row is None else None
    return SealedRow(part.ptr, key.id, nonce, ciphertext, reseal)


def _resealed(erased: UUID, context: bytes, part: Part, now: datetime) -> tuple[KeyRow, SealedRow]:
    """Seal under a fresh key what was built before its subject was erased: it is nobody's known handle."""
    for mac, cached in list(_subject_keys.items()):
        if cached.id == erased:
            _subject_keys.pop(mac, None)
    anew = fresh_key(now)
    assert anew.row is not None
    return anew.row, _sealed(anew, os.urandom(NONCE_BYTES), context, part, now)


@dataclass(frozen=True, slots=True)
class OpenedPart:
    """A private value in clear, with the opening (r) that proves its commitment."""

    ptr: str
    r: bytes
    value_jcs: bytes


def open_parts(*, log_id: int, origin: str, uid: UUID) -> list[OpenedPart]:
    """All private values of one decision that still exist. ValueError when a ciphertext was changed."""
    opened = []
    for part in (
        SealedPart.objects.filter(log_id=log_id, uid=uid).select_related("subject_key").order_by("ptr")
    ):
        key = part.subject_key
        dek = unwrap(key.kek_id, bytes(key.wrapped_dek), dek_label(key.id))
        try:
            r, value = unseal(dek, bytes(part.nonce), aad(origin, str(uid), part.ptr), bytes(part.ciphertext))
        except InvalidTag as error:
            raise ValueError(f"the sealed part {part.ptr} of {uid} does not open under its key") from error
        opened.append(OpenedPart(part.ptr, r, value))
    return opened
