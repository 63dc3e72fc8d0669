"""Each answer has its id, its line and its headers (SECURITY sections 5.3 and 7)."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import include, path

from ecp_project.observability.middleware import RequestMiddleware

pytestmark = [pytest.mark.unit, pytest.mark.urls(__name__)]

PAGE_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; "
    "manifest-src 'self'"
)
GOOD_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def page(request: HttpRequest) -> HttpResponse:
    del request
    return HttpResponse("<p>page")


def cached(request: HttpRequest) -> HttpResponse:
    del request
    return HttpResponse("x", content_type="text/plain", headers={"Cache-Control": "max-age=1"})


urlpatterns = [path("page/", page), path("cached/", cached), path("", include("ecp_project.urls"))]


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("given_id", ["abcd1234", "A.b_c-9" * 9, "0123456789abcdef"])
def test_good_request_id_is_kept(client: Client, given_id: str) -> None:
    assert client.get("/page/", HTTP_X_REQUEST_ID=given_id).headers["X-Request-ID"] == given_id


@pytest.mark.parametrize(
    "given_id", ["", "short", "r" * 65, "abcd1234\r\n X: y", "abcd 1234", "äbcdefgh", "abcd1234\n"]
)
def test_other_request_id_is_replaced(
    client: Client, given_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = client.get("/page/", HTTP_X_REQUEST_ID=given_id)
    found = answer.headers["X-Request-ID"]
    assert GOOD_ID.fullmatch(found)
    assert found != given_id
    (line,) = logged(capsys)
    assert line["request_id"] == found


def test_line_tells_the_route_and_neither_path_nor_query(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    client.get("/api/canary-path/?q=canary-query")
    (line,) = logged(capsys)
    assert (line["event"], line["method"], line["status"], line["route"]) == ("request", "GET", 404, "^api/")
    assert line["duration_ms"] >= 0
    assert "canary" not in json.dumps(line)


def test_probes_are_not_logged(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client.get("/livez")
    assert logged(capsys) == []


def test_trace_id_of_the_caller_is_logged(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    client.get("/page/", HTTP_TRACEPARENT=f"00-{trace}-00f067aa0ba902b7-01")
    client.get("/page/", HTTP_TRACEPARENT="00-nonsense-00f067aa0ba902b7-01")
    first, second = logged(capsys)
    assert first["trace_id"] == trace
    assert "trace_id" not in second


def test_page_has_the_strict_policy(client: Client) -> None:
    answer = client.get("/page/")
    assert answer.headers["Content-Security-Policy"] == PAGE_CSP
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_api_answer_allows_nothing(client: Client) -> None:
    for place in ("/api/nothing/", "/livez", "/api/schema/"):
        policy = client.get(place).headers["Content-Security-Policy"]
        assert policy == "default-src 'none'; frame-ancestors 'none'"


def test_documentation_page_alone_relaxes_styles_and_loads_nothing_foreign(client: Client) -> None:
    answer = client.get("/api/docs/")
    policy = answer.headers["Content-Security-Policy"]
    assert policy == PAGE_CSP.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
    html = answer.content.decode()
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//", html) == []
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []


def test_view_that_says_how_long_to_keep_its_answer_is_heard(client: Client) -> None:
    assert client.get("/cached/").headers["Cache-Control"] == "max-age=1"


def test_method_override_header_has_no_effect(client: Client) -> None:
    assert client.get("/page/", HTTP_X_HTTP_METHOD_OVERRIDE="DELETE").status_code == 200


def test_same_layer_serves_async_views() -> None:
    answer = asyncio.run(AsyncClient().get("/page/", headers={"X-Request-ID": "abcd1234"}))
    assert answer.headers["X-Request-ID"] == "abcd1234"
    assert answer.headers["Content-Security-Policy"] == PAGE_CSP


def test_async_layer_awaits_the_view() -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        del request
        return HttpResponse("x")

    layer = RequestMiddleware(view)
    answer = asyncio.run(layer(RequestFactory().get("/x")))
    assert "X-Request-ID" in answer.headers
