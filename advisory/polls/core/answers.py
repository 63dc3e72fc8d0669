r"""A signed answer: its bytes, its checks that need no database, and its padding at rest (POLLS section 4).

message          "ECP-POLL-RESPONSE-v1\n" || canonical JSON of the payload, signed with Ed25519
response_sha256  SHA-256(canonical JSON of the payload)
responses_root   RFC 6962 tree root over the 32-byte response hashes in ledger order
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ecp_project.kernel.canonical import encode
from ecp_project.kernel.errors import BadRequest
from ecp_project.kernel.signing import sign, verify
from ledger.core.fields import Choice, Integer, Member, Members, Pattern, Text
from ledger.core.merkle import leaf_hash, root_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SCHEMA = "ecp.poll.response/1"
DOMAIN = b"ECP-POLL-RESPONSE-v1\n"
ABSTAIN = "abstain"
OPTION_PATTERN = r"[a-z][a-z0-9_]{0,31}"
MIN_OPTIONS, MAX_OPTIONS = 2, 10
MAX_RATIONALE = 2_000
PADDING = 1_024
_LENGTH_BYTES = 4

_ID = Text(1, 64)
_HEX_32 = Pattern(r"[0-9a-f]{64}")
# Seconds may have a fraction; the instant is the agent's claim and decides nothing.
_INSTANT = Pattern(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?Z")
PAYLOAD = Members(
    Member("schema", Choice(SCHEMA)),
    Member("poll_id", _ID),
    Member("question_hash", _HEX_32),
    Member("invitation_id", _ID),
    Member("agent_id", _ID),
    Member("choice", Pattern(OPTION_PATTERN)),
    Member("confidence_pct", Integer(0, 100)),
    Member("rationale", Text(0, MAX_RATIONALE)),
    Member("answered_at", _INSTANT),
    Member("nonce", Pattern(r"[0-9a-f]{32}")),
    Member("model_id", Text(1, 128), required=False),
    Member("model_version", Text(1, 128), required=False),
    Member("prompt_hash", _HEX_32, required=False),
)
ANSWER = Members(
    Member("kid", Pattern(r"[A-Za-z0-9_-]{21}[AQgw]")),
    Member("payload", PAYLOAD),
    Member("signature", Pattern(r"[0-9a-f]{128}")),
)


def check_answer(document: Mapping[str, Any]) -> None:
    """Refuse what is no answer; the fault's own code becomes the reason."""
    try:
        ANSWER.check(document)
    except BadRequest as error:
        raise BadRequest("schema_invalid", error.detail, pointer=error.pointer, reason=error.code) from None


def message_of(payload: Mapping[str, Any]) -> bytes:
    return DOMAIN + encode(payload)


def response_sha256(payload: Mapping[str, Any]) -> str:
    return sha256(encode(payload)).hexdigest()


def sign_answer(seed: bytes, payload: Mapping[str, Any]) -> bytes:
    return sign(seed, message_of(payload))


def signature_is_good(public_key: bytes, payload: Mapping[str, Any], signature: bytes) -> bool:
    return verify(public_key, signature, message_of(payload))


def responses_root(hashes: Iterable[str]) -> str:
    return root_of([leaf_hash(bytes.fromhex(one)) for one in hashes]).hex()


def with_abstain(options: Sequence[str]) -> list[str]:
    """Add `abstain` last where it is missing: nobody is made to choose."""
    return [*options] if ABSTAIN in options else [*options, ABSTAIN]


def substantive(options: Sequence[str]) -> list[str]:
    return [option for option in options if option != ABSTAIN]


def pad(raw: bytes) -> bytes:
    """Length and bytes, filled up to whole kilobytes: the length of an answer tells choices apart."""
    framed = len(raw).to_bytes(_LENGTH_BYTES, "big") + raw
    return framed + bytes(-len(framed) % PADDING)


def unpad(padded: bytes) -> bytes:
    length = int.from_bytes(padded[:_LENGTH_BYTES], "big")
    return padded[_LENGTH_BYTES : _LENGTH_BYTES + length]
