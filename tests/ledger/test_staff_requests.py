"""A signed-in person acts over the API as a browser does: session cookie, CSRF token, JSON body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

if TYPE_CHECKING:
    from tests.people import People

TOKEN = "a" * 32
AGENT = {"slug": "refund-desk", "title": "Refund desk"}


@pytest.fixture
def browser(people: People) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.ada)
    client.cookies["csrftoken"] = TOKEN
    return client


def register(client: Client, **headers: Any) -> Any:
    return client.post("/api/v1/agents/", AGENT, "application/json", **headers)


def test_body_is_still_there_after_the_csrf_check(browser: Client) -> None:
    answer = register(browser, HTTP_X_CSRFTOKEN=TOKEN)
    assert (answer.status_code, answer.json()["slug"]) == (201, "refund-desk")


def test_without_the_token_nothing_is_done(browser: Client) -> None:
    answer = register(browser)
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
    assert browser.get("/api/v1/agents/refund-desk/").status_code == 404
