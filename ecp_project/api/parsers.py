"""Request bodies, refused in the order of SECURITY section 5.1: media type, encoding, size, then the bytes.

Views that need speed call `read_document` or `read_lines` themselves; the parser classes do the same for
`request.data` and tell the OpenAPI schema which media types a view takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework.parsers import BaseParser

from ecp_project.kernel.canonical import parse_document
from ecp_project.kernel.errors import BadRequest, TooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest
    from rest_framework.request import Request

JSON = "application/json"
NDJSON = "application/x-ndjson"
MAX_DOCUMENT = 64 * 2**10
MAX_BATCH = 5 * 2**20
MAX_LINES = 1_000


def _has_no_body(meta: Mapping[str, Any]) -> bool:
    return meta.get("CONTENT_LENGTH", "") in {"", "0"} and "HTTP_TRANSFER_ENCODING" not in meta


def check_media_type(request: HttpRequest | Request, media_type: str) -> None:
    given = request.META.get("CONTENT_TYPE", "")
    if not given and _has_no_body(request.META):
        return  # nothing has no type; what reads the bytes says that they are missing
    if given != media_type:
        name, *parameters = (part.strip().lower() for part in given.split(";"))
        if name != media_type or any(p not in {"charset=utf-8", 'charset="utf-8"'} for p in parameters):
            raise UnsupportedMediaType("unsupported_media_type", f"This address takes {media_type} in UTF-8.")
    if request.META.get("HTTP_CONTENT_ENCODING"):
        raise UnsupportedMediaType("unsupported_media_type", "Send the body without Content-Encoding.")


def _stream(request: HttpRequest) -> Any:
    # Django takes a chunked body for an empty one; a server that marks the end lets us read it as it comes.
    if request.META.get("wsgi.input_terminated") and not request.META.get("CONTENT_LENGTH"):
        return request.META["wsgi.input"]
    return request


def read_body(request: HttpRequest | Request, limit: int, code: str) -> bytes:
    """Read the raw body; one byte over `limit` is 413 with `code`, whatever Content-Length said."""
    plain: HttpRequest = getattr(request, "_request", request)
    if hasattr(plain, "_body"):  # somebody has read it already
        body: bytes = plain.body
    else:
        stream, chunks, left = _stream(plain), [], limit + 1
        while left > 0 and (chunk := stream.read(left)):
            chunks.append(chunk)
            left -= len(chunk)
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if len(body) > limit:
        raise TooLarge(code, f"At most {limit:,} bytes are taken here.")
    return body


def read_document(
    request: HttpRequest | Request,
    *,
    private: frozenset[str] = frozenset(),
    limit: int = MAX_DOCUMENT,
) -> dict[str, Any]:
    check_media_type(request, JSON)
    return parse_document(read_body(request, limit, "body_too_large"), private=private, max_bytes=limit)


def read_lines(request: HttpRequest | Request) -> list[bytes]:
    """Lines of a batch, unparsed: each one is judged alone (LEDGER section 9)."""
    check_media_type(request, NDJSON)
    body = read_body(request, MAX_BATCH, "batch_too_large")
    lines = body.removesuffix(b"\n").split(b"\n")
    if not body.strip():
        raise BadRequest("batch_empty")
    if len(lines) > MAX_LINES:
        raise TooLarge("batch_too_large", f"{len(lines):,} lines, at most {MAX_LINES:,} are taken at once.")
    return lines


class DocumentParser(BaseParser):
    media_type = JSON

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,  # noqa: ARG002 - DRF's signature; read_* judge the type
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        request = parser_context["request"] if parser_context else stream
        view = (parser_context or {}).get("view")
        private: frozenset[str] = getattr(view, "private_members", frozenset())
        return read_document(request, private=private)


class LinesParser(BaseParser):
    media_type = NDJSON

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,  # noqa: ARG002 - the framework's signature
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return read_lines(parser_context["request"] if parser_context else stream)
