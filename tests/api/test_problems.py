"""Every failure has one shape, `application/problem+json`, and never tells more than it should."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from psycopg_pool import PoolTimeout
from rest_framework import exceptions as drf

from ecp_project.api import problems
from ecp_project.api.permissions import Public
from ecp_project.api.views import ApiView
from ecp_project.kernel import errors
from ecp_project.kernel.errors import PROBLEMS, EcpError

pytestmark = [pytest.mark.unit, pytest.mark.urls(__name__)]

SECRET = "canary-explanation"
FAILURES: dict[str, Exception] = {
    "ecp": errors.Conflict("id_reused", "Taken.", pointer="/id", reason="type", retry_after=7, seq=3),
    "drf_not_found": drf.NotFound(),
    "http404": Http404(SECRET),
    "drf_permission": drf.PermissionDenied(),
    "django_permission": DjangoPermissionDenied(SECRET),
    "not_authenticated": drf.NotAuthenticated(),
    "authentication_failed": drf.AuthenticationFailed(SECRET),
    "media_type": drf.UnsupportedMediaType("text/x"),
    "parse": drf.ParseError(SECRET),
    "throttled": drf.Throttled(wait=2.4),
    "too_big": RequestDataTooBig(),
    "operational": OperationalError(SECRET),
    "pool": PoolTimeout(SECRET),
    "interface": InterfaceError(SECRET),
    "raw_connection": psycopg.OperationalError(SECRET),
    "raw_shutdown": psycopg.errors.AdminShutdown(SECRET),
    "raw_interface": psycopg.InterfaceError(SECRET),
    "bug": RuntimeError(SECRET),
    "assertion": AssertionError(SECRET),
}


class Failing(ApiView):
    permission_classes = (Public,)

    def get(self, request: Any, name: str) -> HttpResponse:
        del request
        error = FAILURES[name]
        if isinstance(error, PoolTimeout):  # as Django's wrapper hands it on
            raise OperationalError from error
        raise error


def plain(request: HttpRequest) -> HttpResponse:
    raise RuntimeError(SECRET) if "bug" in request.GET else OperationalError(SECRET)


handler400 = problems.bad_request
handler403 = problems.permission_denied
handler404 = problems.page_not_found
handler500 = problems.server_error
urlpatterns = [
    path("api/fail/<str:name>/", Failing.as_view()),
    path("api/plain/", plain),
    path("console/plain/", plain),
    path("", include("ecp_project.urls")),
]


@pytest.fixture
def caller() -> Client:
    return Client(raise_request_exception=False)


def problem(answer: Any) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(answer.content)
    assert set(document) >= {"type", "title", "status", "code", "detail", "request_id"}
    assert document["type"] == f"urn:ecp:problem:{document['code']}"
    assert document["status"] == answer.status_code
    assert document["request_id"] == answer.headers["X-Request-ID"]
    assert SECRET not in answer.content.decode()
    return document


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("ecp", 409, "id_reused"),
        ("drf_not_found", 404, "not_found"),
        ("http404", 404, "not_found"),
        ("drf_permission", 403, "role_missing"),
        ("django_permission", 403, "role_missing"),
        ("not_authenticated", 401, "credentials_missing"),
        ("authentication_failed", 401, "credentials_invalid"),
        ("media_type", 415, "unsupported_media_type"),
        ("parse", 400, "malformed_json"),
        ("throttled", 429, "rate_limited"),
        ("too_big", 413, "body_too_large"),
        ("operational", 503, "database_unavailable"),
        ("pool", 503, "database_unavailable"),
        ("interface", 503, "database_unavailable"),
        ("raw_connection", 503, "database_unavailable"),
        ("raw_shutdown", 503, "database_unavailable"),
        ("raw_interface", 503, "database_unavailable"),
        ("bug", 500, "internal_error"),
        ("assertion", 500, "internal_error"),
    ],
)
def test_failure_of_a_view_becomes_its_code(caller: Client, name: str, status: int, code: str) -> None:
    answer = caller.get(f"/api/fail/{name}/")
    assert (answer.status_code, problem(answer)["code"]) == (status, code)


def test_table_above_has_every_kind_of_failure() -> None:
    mark = next(
        m for m in vars(test_failure_of_a_view_becomes_its_code)["pytestmark"] if m.name == "parametrize"
    )
    assert {row[0] for row in mark.args[1]} == set(FAILURES)


def test_members_and_retry_after_of_an_expected_failure_are_kept(caller: Client) -> None:
    answer = caller.get("/api/fail/ecp/")
    document = problem(answer)
    assert (document["detail"], document["pointer"], document["reason"], document["seq"]) == (
        "Taken.", "/id", "type", 3,
    )  # fmt: skip
    assert answer.headers["Retry-After"] == "7"


def test_unavailable_database_says_when_to_retry(caller: Client) -> None:
    assert caller.get("/api/fail/operational/").headers["Retry-After"] == "5"


def test_unauthenticated_answer_names_the_scheme(caller: Client) -> None:
    assert caller.get("/api/fail/not_authenticated/").headers["WWW-Authenticate"].startswith("Bearer")


def test_wrong_method_is_405_with_the_methods_that_there_are(caller: Client) -> None:
    answer = caller.delete("/api/fail/bug/")
    assert problem(answer)["code"] == "method_not_allowed"
    assert "GET" in answer.headers["Allow"]
    assert caller.options("/api/fail/bug/").status_code == 405


def test_media_type_that_nobody_serves_is_406(caller: Client) -> None:
    assert problem(caller.get("/api/fail/bug/", HTTP_ACCEPT="application/xml"))["code"] == "not_acceptable"


def test_address_of_4_kib_is_414(caller: Client) -> None:
    answer = caller.get("/api/fail/bug/?q=" + "a" * 4096)
    assert (answer.status_code, problem(answer)["code"]) == (414, "uri_too_long")


@pytest.mark.parametrize(
    "place", ["/api/nothing", "/api/", "/api/v1/nothing/", "/api/v1/decisions", "/log/x"]
)
def test_unknown_machine_address_is_problem_json(caller: Client, place: str) -> None:
    answer = caller.get(place)
    assert (answer.status_code, problem(answer)["code"]) == (404, "not_found")


def test_unknown_page_is_html_with_the_same_code(caller: Client) -> None:
    answer = caller.get("/nothing")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<code>not_found</code>" in answer.content.decode()


def test_unknown_host_is_a_problem_for_machines(caller: Client) -> None:
    answer = caller.get("/api/v1/nothing/", HTTP_HOST="evil.example.org")
    assert answer.status_code in {400, 404}
    problem(answer)


@pytest.mark.parametrize(("query", "status"), [("", 503), ("?bug", 500)])
def test_view_outside_drf_fails_in_the_same_shape(caller: Client, query: str, status: int) -> None:
    assert caller.get(f"/api/plain/{query}").status_code == status
    problem(caller.get(f"/api/plain/{query}"))
    page = caller.get(f"/console/plain/{query}")
    assert (page.status_code, SECRET in page.content.decode()) == (status, False)


def test_page_without_a_database_tries_again_by_itself_and_a_form_does_not(caller: Client) -> None:
    page, form = caller.get("/console/plain/"), caller.post("/console/plain/")
    assert (page.headers["Refresh"], "tries again every ten seconds" in page.content.decode()) == ("10", True)
    assert "Refresh" not in form.headers
    assert "Retry-After" not in page.content.decode()


def test_expired_form_is_told_as_such() -> None:
    answer = Client(enforce_csrf_checks=True).post("/console/login/", {"username": "x"})
    assert answer.status_code == 403
    assert "<code>csrf_failed</code>" in answer.content.decode()


def test_bug_is_logged_with_frames_and_without_its_message(
    caller: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = caller.get("/api/fail/bug/")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    logged = next(line for line in lines if line["event"] == "unhandled_exception")
    assert logged["request_id"] == answer.headers["X-Request-ID"]
    assert logged["exception"]["type"] == "RuntimeError"
    assert any(":get" in frame for frame in logged["exception"]["frames"])
    assert SECRET not in json.dumps(lines)


def test_every_subclass_renders_every_code_of_its_status() -> None:
    kinds = {kind.status: kind for kind in EcpError.__subclasses__() if kind.__module__ == errors.__name__}
    for code, entry in PROBLEMS.items():
        for status in set(entry.statuses) - {500}:
            document = json.loads(problems.response_of(kinds[status](code), HttpRequest()).content)
            assert (document["code"], document["status"], document["title"]) == (code, status, entry.title)
