"""Secrets of a development installation: made once, kept under `ECP_HOME`, readable by their owner alone."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from typing import TYPE_CHECKING

from ecp_project import env

if TYPE_CHECKING:
    from pathlib import Path

KEK_BYTES = 32


def new_secret() -> str:
    return secrets.token_urlsafe(48)


def new_kek() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(KEK_BYTES)).rstrip(b"=").decode()


def kept_or_made(file: Path, value: str) -> str:
    """Content of `file`; when there is none yet, `value` is stored there first."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(value + "\n")
        try:
            os.link(draft, file)  # of several processes that start at once exactly one wins
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return file.read_text(encoding="utf-8").strip()


def kek(name: str, value: str) -> bytes:
    """Key encryption key: 32 bytes as base64url, padding optional."""
    try:
        key = base64.b64decode(value.rstrip("=") + "=", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise env.EnvError(f"{name} is not base64url") from error
    if len(key) != KEK_BYTES:
        raise env.EnvError(f"{name} holds {len(key)} bytes, {KEK_BYTES} are needed")
    return key
