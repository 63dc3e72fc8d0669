"""Bodies are refused in the order of SECURITY section 5.1: type, encoding, size, bytes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest

from ecp_project.api.parsers import (
    MAX_BATCH,
    MAX_DOCUMENT,
    DocumentParser,
    LinesParser,
    read_body,
    read_document,
    read_lines,
)
from ecp_project.kernel.errors import BadRequest, EcpError, TooLarge, UnsupportedMediaType

pytestmark = pytest.mark.unit

NDJSON = "application/x-ndjson"


class Counting(io.BytesIO):
    """Knows how much of it was read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


TERMINATED: Any = {"wsgi.input_terminated": True}


def request(body: bytes = b"{}", content_type: str = "application/json", **meta: Any) -> WSGIRequest:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/v1/x/",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "wsgi.input": Counting(body),
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": content_type,
    }
    return WSGIRequest({name: value for name, value in (environ | meta).items() if value is not None})


def code(caught: pytest.ExceptionInfo[EcpError]) -> str:
    return caught.value.code


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8",
        'Application/JSON; charset="utf-8"',
    ],
)  # fmt: skip
def test_json_in_utf_8_is_taken(content_type: str) -> None:
    assert read_document(request(b' {"a": 1} ', content_type)) == {"a": 1}


@pytest.mark.parametrize(
    "content_type",
    [
        "", "text/plain", "application/xml", "application/json; charset=utf-16", "application/json; profile=x", NDJSON,  # noqa: E501 - one sentence
        "application/json, text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded",  # noqa: E501 - one sentence
    ],
)  # fmt: skip
def test_other_media_types_are_415_before_a_byte_is_read(content_type: str) -> None:
    asked = request(b"x" * 100_000, content_type)
    with pytest.raises(UnsupportedMediaType):
        read_document(asked)
    assert asked.META["wsgi.input"].taken == 0


def test_content_encoding_is_415_even_when_it_says_identity() -> None:
    for encoding in ("gzip", "br", "identity"):
        with pytest.raises(UnsupportedMediaType):
            read_document(request(HTTP_CONTENT_ENCODING=encoding))


def test_largest_document_passes_and_one_byte_more_is_413() -> None:
    body = b'{"a":1}'.ljust(MAX_DOCUMENT)
    assert read_document(request(body)) == {"a": 1}
    with pytest.raises(TooLarge) as caught:
        read_document(request(body + b" "))
    assert code(caught) == "body_too_large"


def test_size_is_counted_while_reading_whatever_the_length_header_says() -> None:
    asked = request(b"x" * 1_000_000, CONTENT_LENGTH=None, **TERMINATED)
    with pytest.raises(TooLarge):
        read_body(asked, 1000, "body_too_large")
    assert asked.META["wsgi.input"].taken <= 1001


def test_chunked_body_is_read() -> None:
    asked = request(b'{"a":1}', CONTENT_LENGTH=None, HTTP_TRANSFER_ENCODING="chunked", **TERMINATED)
    assert read_document(asked) == {"a": 1}


def test_body_that_was_read_before_is_read_again() -> None:
    asked = request(b'{"a":1}')
    assert asked.body
    assert read_document(asked) == {"a": 1}


def test_missing_body_is_malformed_and_not_of_a_wrong_type() -> None:
    with pytest.raises(BadRequest) as caught:
        read_document(request(b"", content_type=""))
    assert code(caught) == "malformed_json"


def test_private_members_may_hold_floats() -> None:
    assert read_document(request(b'{"context":{"A b":1.5}}'), private=frozenset({"context"})) == {
        "context": {"A b": 1.5}
    }
    with pytest.raises(BadRequest):
        read_document(request(b'{"context":{"A b":1.5}}'))


def test_lines_come_as_they_are_and_a_last_newline_is_optional() -> None:
    assert read_lines(request(b'{"a":1}\n not json \n', NDJSON)) == [b'{"a":1}', b" not json "]
    assert read_lines(request(b"a\n\nb", NDJSON)) == [b"a", b"", b"b"]


@pytest.mark.parametrize("body", [b"", b"\n", b" \n\n\t"])
def test_batch_without_a_line_is_empty(body: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        read_lines(request(body, NDJSON))
    assert code(caught) == "batch_empty"


def test_batch_limits() -> None:
    assert len(read_lines(request(b"{}\n" * 1000, NDJSON))) == 1000
    for body in (b"{}\n" * 1001, b"x" * (MAX_BATCH + 1)):
        with pytest.raises(TooLarge) as caught:
            read_lines(request(body, NDJSON))
        assert code(caught) == "batch_too_large"


def test_parser_classes_do_the_same_for_request_data() -> None:
    class View:
        private_members = frozenset({"context"})

    context = {"request": request(b'{"context":{"x":1.5}}'), "view": View()}
    assert DocumentParser().parse(None, None, context) == {"context": {"x": 1.5}}
    assert LinesParser().parse(request(b"a\nb", NDJSON)) == [b"a", b"b"]
