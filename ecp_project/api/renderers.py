"""Answers as JSON by orjson."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from rest_framework.renderers import BaseRenderer

if TYPE_CHECKING:
    from collections.abc import Mapping


class OrjsonRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8 (RFC 8259 section 8.1)

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,  # noqa: ARG002 - DRF's signature
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002 - DRF's signature
    ) -> bytes:
        return b"" if data is None else orjson.dumps(data)
