"""Answers as JSON by orjson, and what else a view may be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rest_framework.request import Request

_TAKES_THE_FIRST = frozenset({"", "*/*", "application/json"})


class Negotiation(DefaultContentNegotiation):
    """DRF's negotiation, which costs a twentieth of an append, only where there is something to negotiate."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first, *_ = renderers = tuple(renderers)
        if (
            first.media_type == "application/json"
            and not format_suffix
            and request.META.get("HTTP_ACCEPT", "") in _TAKES_THE_FIRST
        ):
            return first, first.media_type
        chosen: tuple[BaseRenderer, str] = super().select_renderer(request, renderers, format_suffix)
        return chosen


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


def serves(*media_types: str) -> list[type[BaseRenderer]]:
    """Renderers of a view that also writes these media types itself; its problems stay JSON."""
    return [
        OrjsonRenderer,
        *(
            type("WrittenByTheView", (OrjsonRenderer,), {"media_type": name, "format": ""})
            for name in media_types
        ),
    ]
