"""Public or private: who decides, what the page says, and what is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from ledger.core.entry import parse_entry
from ledger.models import Entry, Log, Membership, Role
from tests.console.desk import ROLES, decision, record, shown, signed_in
from tests.console.test_frame import check
from tests.people import person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.people import People

pytestmark = pytest.mark.db
PAGE = "/console/integrity/publication/"
REASON = "The board decided on openness."


@pytest.fixture
def adam(people: People) -> User:
    record(people.log, decision())
    return person("adam", people.acme, Role.ADMIN)


def send(user: Any, **form: str) -> Any:
    return signed_in(user).post(PAGE, {"log": "acme", "public": "yes", "reason": REASON} | form)


def is_public(people: People) -> bool:
    return Log.objects.get(pk=people.log.pk).is_public


def acts(people: People) -> list[dict[str, Any]]:
    rows = Entry.objects.filter(log=people.log, kind="ecp.staff/1").order_by("seq")
    return [parse_entry(bytes(row.entry)).stmt for row in rows]


def test_an_admin_opens_and_closes_a_log_and_both_are_recorded(people: People, adam: User) -> None:
    page = shown(adam, PAGE)
    check(page)
    assert "what staff did, under pseudonyms" in page
    assert "sealed values" in page
    assert send(adam).headers["Location"] == "/console/integrity/?log=acme"
    assert Client().get("/public/acme/").status_code == 200
    page = shown(adam, PAGE)
    check(page)
    assert "Whoever took a copy keeps it." in page
    assert send(adam, public="no", reason="It was a mistake.").status_code == 302
    assert Client().get("/public/acme/").status_code == 404
    me = f"staff:{Membership.objects.get(user=adam).pseudonym}"
    assert [(act["actor"], act["action"], act["object"], act["reason"]) for act in acts(people)] == [
        (me, "log.publish", "log:acme", REASON),
        (me, "log.unpublish", "log:acme", "It was a mistake."),
    ]


@pytest.mark.usefixtures("adam")
@pytest.mark.parametrize("role", ROLES)
def test_who_sees_the_page_and_who_decides(people: People, role: str) -> None:
    user = person("sam", people.acme, role)
    reads = role in {Role.AUDITOR, Role.OPERATOR, Role.ADMIN}
    assert signed_in(user).get(PAGE).status_code == (200 if reads else 403)
    assert ('name="public"' in signed_in(user).get(PAGE).content.decode()) == (role == Role.ADMIN)
    assert send(user).status_code == (302 if role == Role.ADMIN else 403)
    assert is_public(people) == (role == Role.ADMIN)


@pytest.mark.usefixtures("adam")
def test_strangers_meet_no_such_log(people: People) -> None:
    assert send(people.eve).status_code == 404
    assert signed_in(people.eve).get(PAGE, {"log": "acme"}).status_code == 404
    assert Client().get(PAGE).status_code == 302
    assert not is_public(people)


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"reason": "short"}, 400, "explanation_too_short"),
        ({"reason": ""}, 400, "explanation_too_short"),
        ({"public": "perhaps"}, 400, "bad_value"),
        ({"public": "no"}, 409, "id_reused"),
    ],
)
def test_what_is_refused_changes_and_records_nothing(
    people: People, adam: User, form: dict[str, str], status: int, code: str
) -> None:
    answer = send(adam, **form)
    assert answer.status_code == status
    assert f"<code>{code}</code>" in answer.content.decode()
    assert not is_public(people)
    assert acts(people) == []


def test_what_was_written_stays_in_the_form(adam: User) -> None:
    page = send(adam, reason="<b>short").content.decode()
    check(page)
    assert ">&lt;b&gt;short</textarea>" in page


def test_a_log_that_takes_nothing_is_neither_opened_nor_closed(people: People, adam: User) -> None:
    people.log.mode = "halt"
    people.log.save(update_fields=["mode"])
    answer = send(adam)
    assert answer.status_code == 503
    assert "ledger_halted" in answer.content.decode()
    assert not is_public(people)


def test_put_is_no_method_of_the_page(adam: User) -> None:
    assert signed_in(adam).put(PAGE).status_code == 405


def test_command_does_the_same(people: People, adam: User, capsys: pytest.CaptureFixture[str]) -> None:
    del adam
    call_command("log_publish", "--log", "acme", "--reason", REASON)
    assert capsys.readouterr().out == "acme is public now.\n"
    assert is_public(people)
    with pytest.raises(CommandError, match="acme is public already"):
        call_command("log_publish", "--log", "acme", "--reason", REASON)
    call_command("log_publish", "--log", "acme", "--private", "--reason", REASON)
    assert not is_public(people)
    assert [act["actor"] for act in acts(people)] == ["system:shell", "system:shell"]
    with pytest.raises(CommandError, match="at least 10"):
        call_command("log_publish", "--log", "acme", "--reason", "no")
