"""API keys: their form, and one identical refusal for whatever is wrong with one (SECURITY section 3)."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from ecp_project.api.authentication import (
    KeyAuthentication,
    Principal,
    StoredKey,
    generate_key,
    judged,
    key_digest,
    parse_header,
)
from ecp_project.api.permissions import allow
from ecp_project.api.problems import response_of
from ecp_project.api.views import ApiView
from ecp_project.kernel.errors import NotAuthenticated

if TYPE_CHECKING:
    from django.test import Client

pytestmark = [pytest.mark.unit, pytest.mark.urls(__name__)]

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FOREVER = datetime(2999, 1, 1, tzinfo=UTC)
TEXT = "ecp_" + "zzzz0000" + "_" + "A" * 43  # fixed: test names must be the same in every process
PREFIX, DIGEST = TEXT[4:12], key_digest(TEXT)
AGENT = Principal(
    kind="agent", organisation_id=7, agent_id=3, scopes=frozenset({"decisions:read"}), key_prefix=PREFIX
)


def stored(**changes: Any) -> StoredKey:
    members: dict[str, Any] = {
        "digest": DIGEST,
        "expires_at": FOREVER,
        "revoked_at": None,
        "principal": AGENT,
    }
    return StoredKey(**members | changes)


class Keys(KeyAuthentication):
    def look_up(self, prefix: str) -> StoredKey | None:
        return stored() if prefix == PREFIX else None


class Read(ApiView):
    authentication_classes = (Keys,)
    permission_classes = (allow(scope="decisions:read"),)

    def get(self, request: Any) -> HttpResponse:
        return HttpResponse(str(request.auth.agent_id), content_type="text/plain")


urlpatterns = [path("api/read/", Read.as_view())]


def refusals(reason: str) -> float:
    labels = {"method": "api_key", "reason": reason}
    return REGISTRY.get_sample_value("ecp_auth_failures_total", labels) or 0.0


def test_fresh_key_has_the_published_form_and_is_stored_as_prefix_and_digest() -> None:
    text, prefix, digest = generate_key()
    assert re.fullmatch(r"ecp_[a-z0-9]{8}_[A-Za-z0-9_-]{43}", text)
    assert text.split("_")[1] == prefix
    assert digest == hashlib.sha256(text.encode()).digest() == key_digest(text)


def test_two_keys_share_nothing() -> None:
    assert len({generate_key()[0] for _ in range(200)}) == 200


@pytest.mark.parametrize("header", [f"Bearer {TEXT}", f"bearer {TEXT}", f"BEARER  {TEXT} "])
def test_bearer_is_read_in_any_case(header: str) -> None:
    assert parse_header(header) == (TEXT, PREFIX)


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", f"Basic {TEXT}", TEXT, f"Bearer {TEXT}x", f"Bearer {TEXT[:-1]}", f"Bearer {TEXT}\n",  # noqa: E501 - one sentence
        f"Bearer {TEXT.upper()}", f"Bearer x{TEXT}", f"Bearer {TEXT} {TEXT}", "Basic YWRtaW46YWRtaW4=",
        f"Bearer {TEXT[:20]}é{TEXT[21:]}",
    ],
)  # fmt: skip
def test_other_headers_are_malformed(header: str) -> None:
    before = refusals("malformed")
    with pytest.raises(NotAuthenticated):
        parse_header(header)
    assert refusals("malformed") == before + 1


@given(st.text(max_size=80))
def test_no_text_breaks_the_header_parser(text: str) -> None:
    try:
        key, prefix = parse_header(text)
    except NotAuthenticated:
        return
    assert key.startswith(f"ecp_{prefix}_")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "unknown"),
        (stored(digest=bytes(32)), "unknown"),
        (stored(expires_at=NOW), "expired"),
        (stored(revoked_at=NOW), "revoked"),
        (stored(revoked_at=NOW - timedelta(days=1), expires_at=NOW), "revoked"),
    ],
)
def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(key: StoredKey | None, reason: str) -> None:
    before = refusals(reason)
    with pytest.raises(NotAuthenticated) as caught:
        judged(TEXT, key, now=NOW)
    with pytest.raises(NotAuthenticated) as malformed:
        parse_header("Bearer nonsense")
    request = HttpRequest()
    assert response_of(caught.value, request).content == response_of(malformed.value, request).content
    assert refusals(reason) == before + 1


def test_good_key_speaks_for_its_principal() -> None:
    assert judged(TEXT, stored(revoked_at=NOW + timedelta(seconds=1)), now=NOW) is AGENT


def test_request_with_a_good_key_passes(client: Client) -> None:
    answer = client.get("/api/read/", HTTP_AUTHORIZATION=f"Bearer {TEXT}")
    assert (answer.status_code, answer.content) == (200, b"3")


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({}, "credentials_missing"),
        ({"QUERY_STRING": f"api_key={TEXT}"}, "credentials_missing"),
        ({"HTTP_COOKIE": f"api_key={TEXT}"}, "credentials_missing"),
        ({"HTTP_X_API_KEY": TEXT}, "credentials_missing"),
        ({"HTTP_AUTHORIZATION": "Basic YWRtaW46YWRtaW4="}, "credentials_invalid"),
        ({"HTTP_AUTHORIZATION": "Bearer ecp_aaaa1111_" + "B" * 43}, "credentials_invalid"),
        ({"HTTP_AUTHORIZATION": ""}, "credentials_invalid"),
    ],
)
def test_only_the_header_authenticates_a_machine(client: Client, extra: dict[str, str], code: str) -> None:
    answer = client.get("/api/read/", **extra)  # type: ignore[arg-type]  # WSGI variables by their names
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="ecp"'


def test_log_line_names_the_prefix_and_never_the_key(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    client.get("/api/read/", HTTP_AUTHORIZATION=f"Bearer {TEXT}")
    client.get(f"/api/read/?api_key={TEXT}")
    logged = capsys.readouterr().err
    assert f'"actor":"{PREFIX}"' in logged
    assert TEXT.split("_", 2)[2] not in logged
