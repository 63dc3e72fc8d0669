# A copy of ledger/core/note.py, made by clients/python/copy_core.py; change it there.
r"""Signed notes and checkpoints: C2SP signed-note, tlog-checkpoint, tlog-cosignature.

    <origin>\n<size>\n<base64 root>\n            the text of a checkpoint; there are no extension lines
    \n
    — <name> base64(key id || signature)\\n       one line per signer

    key id         SHA-256(name || 0x0A || type || public key)[:4]
    vkey           name+<hex key id>+base64(type || public key)
    type 0x01      Ed25519 over the text
    type 0x04      time(8, big-endian) || Ed25519 over "cosignature/v1\ntime <t>\n" || text

Unknown signers are ignored. A known signer whose line does not verify spoils the whole note, and so does one
that signs twice. Base64 must be the one spelling of its bytes: common decoders ignore the spare bits at the
end.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from ecp_client._core.kernel import signing
from ecp_client._core.ledger.merkle import HASH_SIZE, ProofInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ED25519 = 0x01
COSIGNATURE = 0x04

MAX_NOTE_CHARACTERS = 65_536
MAX_SIGNATURES = 64
MAX_SIZE = 2**63 - 1

_KEY_ID_BYTES = 4
_VKEY_BYTES = 1 + signing.KEY_BYTES
_TIME_BYTES = 8
# Key names hold neither Unicode spaces nor plus signs (signed-note, Format).
_NAME = re.compile(r"[^\s+\x00-\x20]{1,255}")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_VKEY = re.compile(r"([^\s+\x00-\x20]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")
_SIGNATURE_LINE = re.compile(r"— ([^\s+\x00-\x20]{1,255}) ([A-Za-z0-9+/=]+)")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def b64_decode(text: str) -> bytes:
    """Bytes of padded standard base64; refused unless they encode to the same text again."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ProofInvalid("not base64") from None
    if b64(data) != text:
        raise ProofInvalid("not the canonical base64 of its bytes")
    return data


def decode_hash(text: str) -> bytes:
    data = b64_decode(text)
    if len(data) != HASH_SIZE:
        raise ProofInvalid("a hash has 32 bytes")
    return data


def decode_size(text: str) -> int:
    """ASCII decimal without sign or leading zeros, below 2^63."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise ProofInvalid("not a canonical decimal number")
    return int(text)


def key_id(name: str, public_key: bytes, kind: int = ED25519) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + public_key).digest()[:_KEY_ID_BYTES]


def make_vkey(name: str, public_key: bytes, kind: int = ED25519) -> str:
    if not _NAME.fullmatch(name):
        raise AssertionError(f"not a key name: {name!r}")
    return f"{name}+{key_id(name, public_key, kind).hex()}+{b64(bytes([kind]) + public_key)}"


class Verifier:
    """The public half of a signer, from its vkey text. Where that text came from is what makes it trusted."""

    __slots__ = ("key_id", "kind", "name", "public_key", "vkey")

    def __init__(self, vkey: str) -> None:
        match = _VKEY.fullmatch(vkey)
        if match is None:
            raise ProofInvalid("not a verifier key")
        data = b64_decode(match[3])
        if len(data) != _VKEY_BYTES or data[0] not in (ED25519, COSIGNATURE):
            raise ProofInvalid("a verifier key is Ed25519, of type 0x01 or 0x04")
        self.vkey = vkey
        self.name, self.kind, self.public_key = match[1], data[0], data[1:]
        self.key_id = bytes.fromhex(match[2])
        if self.key_id != key_id(self.name, self.public_key, self.kind):
            raise ProofInvalid("the key id is not that of the key")

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether a signature line's bytes, key id cut off, sign the note text."""
        if self.kind == ED25519:
            return signing.verify(self.public_key, signature, text.encode())
        seconds = int.from_bytes(signature[:_TIME_BYTES], "big")
        return signing.verify(self.public_key, signature[_TIME_BYTES:], _cosigned(text, seconds))


@dataclass(frozen=True, slots=True)
class Signer:
    """A named Ed25519 key that signs notes; the seed is its 32-byte private half."""

    name: str
    seed: bytes

    @property
    def public_key(self) -> bytes:
        return signing.public_from_seed(self.seed)

    @property
    def vkey(self) -> str:
        return make_vkey(self.name, self.public_key)

    def sign(self, text: str) -> str:
        """Give the signature line over a note text, newline included."""
        return self._line(key_id(self.name, self.public_key) + signing.sign(self.seed, text.encode()))

    def cosign(self, text: str, *, seconds: int) -> str:
        """Give a witness's line: it saw this checkpoint, found it consistent, at this Unix time."""
        signature = signing.sign(self.seed, _cosigned(text, seconds))
        identity = key_id(self.name, self.public_key, COSIGNATURE)
        return self._line(identity + seconds.to_bytes(_TIME_BYTES, "big") + signature)

    def _line(self, data: bytes) -> str:
        return f"— {self.name} {b64(data)}\n"

    def __repr__(self) -> str:
        return f"Signer({self.name!r})"  # the seed stays out of logs and tracebacks


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to: its first `size` entries have this root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        if not (_NAME.fullmatch(self.origin) and 0 <= self.size <= MAX_SIZE and len(self.root) == HASH_SIZE):
            raise AssertionError(f"not a checkpoint: {self}")
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        lines = text.split("\n")
        if len(lines) != len(("origin", "size", "root", "")) or lines[-1] or not _NAME.fullmatch(lines[0]):
            raise ProofInvalid("a checkpoint has three lines: origin, size, root")
        return cls(origin=lines[0], size=decode_size(lines[1]), root=decode_hash(lines[2]))


class Verified(NamedTuple):
    """A signature that was checked; `seconds` is the witness's time for a cosignature, else None."""

    verifier: Verifier
    seconds: int | None


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> str:
    """Make the note: text, blank line, the log's signature. A log signs under its own origin only."""
    if signer.name != checkpoint.origin:
        raise AssertionError(f"{signer.name} does not sign for {checkpoint.origin}")
    text = checkpoint.text()
    return f"{text}\n{signer.sign(text)}"


def split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Text and its signature lines as (name, key id, signature), nothing verified yet."""
    if len(note) > MAX_NOTE_CHARACTERS or _CONTROL.search(note):
        raise ProofInvalid("not a signed note")
    text, blank, block = note.rpartition("\n\n")
    if not blank or not block.endswith("\n"):
        raise ProofInvalid("a signed note is text, blank line, signature lines")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise ProofInvalid("too many signature lines")
    signatures = []
    for line in lines:
        match = _SIGNATURE_LINE.fullmatch(line)
        data = b64_decode(match[2]) if match else b""
        if match is None or len(data) <= _KEY_ID_BYTES:
            raise ProofInvalid("not a signature line")
        signatures.append((match[1], data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:]))
    return text + "\n", signatures


def open_note(note: str, verifiers: Iterable[Verifier]) -> tuple[str, list[Verified]]:
    """Text of a note and who of the given keys signed it; ProofInvalid if none did or one did wrongly."""
    text, lines = split_note(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    verified: dict[tuple[str, bytes], Verified] = {}
    for name, identity, signature in lines:
        verifier = known.get((name, identity))
        if verifier is None:
            continue
        if (name, identity) in verified or not verifier.verify(text, signature):
            raise ProofInvalid("a signature does not verify")
        is_dated = verifier.kind == COSIGNATURE
        seconds = int.from_bytes(signature[:_TIME_BYTES], "big") if is_dated else None
        verified[name, identity] = Verified(verifier, seconds)
    if not verified:
        raise ProofInvalid("no signature by a known key")
    return text, list(verified.values())


def open_checkpoint(note: str, verifier: Verifier) -> Checkpoint:
    """Read the checkpoint of a note signed by this log key, whose name is the one origin it speaks for."""
    text, _ = open_note(note, [verifier])
    checkpoint = Checkpoint.parse(text)
    if verifier.kind != ED25519 or checkpoint.origin != verifier.name:
        raise ProofInvalid("the checkpoint is not signed by the key of its origin")
    return checkpoint


def cosignatures(note: str, witnesses: Sequence[Verifier]) -> list[Verified]:
    """Which of these witnesses cosigned the note; one that did so wrongly spoils it."""
    dated = [witness for witness in witnesses if witness.kind == COSIGNATURE]
    _, lines = split_note(note)
    if not any((name, identity) == (w.name, w.key_id) for name, identity, _ in lines for w in dated):
        return []
    return open_note(note, dated)[1]
