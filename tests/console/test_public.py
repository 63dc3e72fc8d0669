"""The public page: what strangers see of a public log, and that nothing else exists for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from ecp_project.console.rollups import keep_up
from ecp_project.kernel.errors import RateLimited
from ledger.core.note import Signer, Verifier
from ledger.core.proof import verify_proof
from ledger.models import Entry, Log
from tests.console.desk import annotation, decision, record, signed_in
from tests.console.test_frame import check
from tests.running_ledger import SEED

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from tests.people import People
    from tests.tampering import Flip

pytestmark = pytest.mark.db
SECRET = "Erika Mustermann"


@pytest.fixture
def public(people: People, checkpointer: Checkpointer) -> list[Entry]:
    """Acme's log is public: seven decisions, six of them by the operator's zone."""
    Log.objects.filter(pk=people.log.pk).update(is_public=True)
    made = record(
        people.log,
        decision("Lowered the price, as the lamp sells slowly.", context={"customer": SECRET}),
        *[decision("Raised the price.", zone="operator") for _ in range(6)],
    )
    checkpointer.turn()
    return made


def get(path: str, **query: Any) -> Any:
    return Client().get(path, query)


def test_only_public_logs_exist(public: list[Entry], people: People) -> None:
    assert public
    page = get("/public/").content.decode()
    assert 'href="/public/acme/"' in page
    assert "Umbra" not in page
    for path in ("/public/umbra/", "/public/umbra/0/entry/", "/public/umbra/0/proof/", "/public/nothing/"):
        assert get(path).status_code == 404, path
    # a member of the organisation meets the same: the page is about what is public
    assert signed_in(people.eve).get("/public/umbra/").status_code == 404


@pytest.mark.parametrize("path", ["/public/", "/public/acme/", "/public/acme/?q=0", "/public/acme/?q=x"])
def test_pages_leave_no_cookie_and_are_cached_alike_for_all(
    public: list[Entry], people: People, path: str
) -> None:
    assert public
    for client in (Client(), signed_in(people.ada)):
        answer = client.get(path)
        assert "Set-Cookie" not in answer.headers
        assert not answer.cookies
        assert "Cookie" not in answer.headers.get("Vary", "")
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        page = answer.content.decode()
        assert "<script" not in page
        assert "ada" not in re.findall(r"\b\w+\b", page)
        if answer.status_code == 200:
            assert answer.headers["Cache-Control"] == "public, max-age=60"
            check(page)


def test_state_of_the_log_is_whole(public: list[Entry], people: People) -> None:
    page = get("/public/acme/").content.decode()
    assert people.log.origin in page
    assert (
        Signer(people.log.origin, SEED).vkey.replace("+", "&#x2B;") in page
        or Signer(people.log.origin, SEED).vkey in page
    )
    assert f"<td>{len(public)}</td>" in page
    assert "/log/acme/" in page
    assert "What is not public" in page


@pytest.mark.parametrize("by", ["id", "position"])
def test_one_record_is_found_by_id_or_position(public: list[Entry], by: str) -> None:
    first = public[0]
    page = get("/public/acme/", q=str(first.uid) if by == "id" else first.seq).content.decode()
    assert "Lowered the price, as the lamp sells slowly." in page
    assert page.count('class="tick-pass"') == 4
    assert SECRET not in page
    assert f"/public/acme/{first.seq}/entry/" in page


@pytest.mark.parametrize(
    ("text", "status"),
    [("lamp", 400), ("'", 400), ("²", 400), ("99", 404), ("019b0a2c-4e00-7000-8000-000000000003", 404)],
)
def test_there_is_no_search_in_the_text(public: list[Entry], text: str, status: int) -> None:
    assert public
    answer = get("/public/acme/", q=text)
    assert answer.status_code == status
    assert "Lowered the price" not in answer.content.decode()
    assert 'role="alert"' in answer.content.decode()


def test_records_of_other_logs_are_not_found_here(
    public: list[Entry], people: People, checkpointer: Checkpointer
) -> None:
    (theirs,) = record(people.other_log, decision("A price of Umbra.", agent="eve-bot"))
    checkpointer.turn()
    assert public
    assert get("/public/acme/", q=str(theirs.uid)).status_code == 404


def test_downloads_verify_together(public: list[Entry], people: People) -> None:
    entry = get(f"/public/acme/{public[0].seq}/entry/")
    proof = get(f"/public/acme/{public[0].seq}/proof/")
    for answer in (entry, proof):
        assert answer.headers["Content-Disposition"].startswith("attachment; ")
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Cache-Control"] == "public, max-age=60"
    key = Verifier(Signer(people.log.origin, SEED).vkey)
    assert verify_proof(proof.content.decode(), entry.content, key).size == len(public)


def test_receipt_waits_for_a_checkpoint(public: list[Entry], people: People) -> None:
    (made,) = record(people.log, decision())
    answer = get(f"/public/acme/{made.seq}/proof/")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (409, "no-store")
    assert public


def test_tampering_is_told_to_strangers_too(public: list[Entry], flip: Flip) -> None:
    flip(public[0], bytes(public[0].entry).index(b"lamp"))
    page = get("/public/acme/", q=public[0].seq).content.decode()
    assert 'class="verdict-failed"' in page


def test_small_numbers_are_not_told(public: list[Entry], people: People) -> None:
    month = public[0].rcvd.strftime("%Y-%m")
    keep_up(log_id=people.log.pk)

    def cells() -> list[str]:
        page = get("/public/acme/").content.decode()
        row = re.search(rf'<th scope="row">{month}</th>(.*?)</tr>', page, re.DOTALL)
        assert row is not None
        return re.findall(r'<td class="numeric">(.*?)</td>', row[1])

    assert cells() == ["under 5", "6", "under 5", "under 5"]  # manufacturer, operator, uncertain, none
    record(people.log, *[decision() for _ in range(4)])
    assert cells() == ["under 5", "6", "under 5", "under 5"]  # not counted yet
    keep_up(log_id=people.log.pk)
    assert cells() == ["under 5", "6", "under 5", "5"]


def test_hostile_text_is_text(people: People, public: list[Entry], checkpointer: Checkpointer) -> None:
    (noted,) = record(people.log, annotation(public[0], "<script>window.__xss=1</script> and <b>bold</b>."))
    checkpointer.turn()
    page = get("/public/acme/", q=noted.seq).content.decode()
    assert "&lt;script&gt;window.__xss=1&lt;/script&gt;" in page
    assert "<script" not in page


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_nobody_writes_here(public: list[Entry], method: str) -> None:
    assert public
    assert getattr(Client(), method)("/public/acme/").status_code == 405


def test_strangers_are_limited_like_readers_of_the_static_log(
    public: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(scope: str, _key: str) -> None:
        asked.append(scope)
        raise RateLimited("rate_limited", retry_after=1)

    monkeypatch.setattr("ecp_project.console.views.public.take", refuse)
    answer = get("/public/acme/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert asked == ["static"]
    assert public


def test_installation_without_a_public_log_says_so(people: People) -> None:
    assert "No log of this installation is public." in get("/public/").content.decode()
    assert get(f"/public/{people.log.slug}/").status_code == 404
