"""The key that signs what this installation sends to agents, and the signature itself (SECURITY section 9).

RFC 9421 over `@method @target-uri content-digest idempotency-key`, the digest by RFC 9530. The key proves who
asks; it signs nothing of the ledger. Its public half is at `/.well-known/ecp-delivery-keys`.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import JsonResponse
from django.views.decorators.http import require_safe

from ecp_project.kernel.clock import format_time
from ecp_project.kernel.signing import b64url, b64url_decode, kid_of, public_from_seed, sign

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest

HEADER = "ecp-delivery-key/v1"
VERSION = "ecp.delivery-keys/1"
SEED_BYTES = 32
WINDOW_S = 300
LABEL = "ecp"
COVERED = '("@method" "@target-uri" "content-digest" "idempotency-key")'


def make_key(*, now: datetime) -> str:
    """Write a new key file with mode 0400 and publish its public half; an existing key is never replaced."""
    path, public = Path(settings.ECP_DELIVERY_KEY_FILE), Path(settings.ECP_DELIVERY_PUBLIC_KEYS)
    seed = os.urandom(SEED_BYTES)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{HEADER}\n{b64url(seed)}\n")
    key = public_from_seed(seed)
    row = {"kid": kid_of(key), "public_key": b64url(key), "valid_from": format_time(now)}
    document = {"v": VERSION, "keys": [*public_keys(), row]}
    draft = public.with_name(f".{public.name}.new")
    draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    draft.replace(public)
    return row["kid"]


def read_seed() -> bytes:
    """The private half, for the worker alone; a file that others may read is refused."""
    path = Path(settings.ECP_DELIVERY_KEY_FILE)
    try:
        mode = path.stat().st_mode
        header, text = path.read_text(encoding="ascii").split()
        seed = b64url_decode(text)
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(
            f"no delivery key in {path.name}: run `manage.py delivery_keygen`"
        ) from error
    if header != HEADER or len(seed) != SEED_BYTES:
        raise ImproperlyConfigured(f"{path.name} is no delivery key")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ImproperlyConfigured(f"{path.name} is open to others; set its mode to 0400")
    return seed


def public_keys() -> list[dict[str, Any]]:
    path = Path(settings.ECP_DELIVERY_PUBLIC_KEYS)
    if not path.exists():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["keys"]
    return found


def signed_headers(
    *, url: str, body: bytes, idempotency_key: str, seed: bytes, now: datetime
) -> dict[str, str]:
    digest = f"sha-256=:{base64.b64encode(sha256(body).digest()).decode()}:"
    created = int(now.timestamp())
    parameters = (
        f'{COVERED};created={created};expires={created + WINDOW_S};keyid="{kid_of(public_from_seed(seed))}";'
        'alg="ed25519"'
    )
    signature = sign(seed, signature_base(url, digest, idempotency_key, parameters))
    return {
        "Content-Type": "application/json",
        "Idempotency-Key": idempotency_key,
        "Content-Digest": digest,
        "Signature-Input": f"{LABEL}={parameters}",
        "Signature": f"{LABEL}=:{base64.b64encode(signature).decode()}:",
    }


def signature_base(url: str, digest: str, idempotency_key: str, parameters: str) -> bytes:
    """RFC 9421 section 2.5, for exactly these four components."""
    lines = (
        '"@method": POST',
        f'"@target-uri": {url}',
        f'"content-digest": {digest}',
        f'"idempotency-key": {idempotency_key}',
        f'"@signature-params": {parameters}',
    )
    return "\n".join(lines).encode()


@require_safe
def keys(request: HttpRequest) -> JsonResponse:
    """Public keys for agents that check who asks."""
    del request
    return JsonResponse({"v": VERSION, "keys": public_keys()})
