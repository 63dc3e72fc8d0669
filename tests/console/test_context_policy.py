"""Context policy: what is in force, in words; a pasted record is judged as recording does, not recorded."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.console.views.context_policy import EXAMPLE
from ledger.core.entry import parse_entry
from ledger.models import Entry, Log, Organisation
from ledger.services.policies import policies, policies_chosen, policy_digest
from ledger.services.projections import project_search
from tests.console.desk import decision, record, shown, signed_in, staff_acts
from tests.console.test_frame import check
from tests.people import person

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db
PAGE = "/console/context-policy/"
REFUNDS = {"*": "strict@1", "refund.grant": "example-refunds@1"}
CONTEXT = {
    "amount_eur": 349.99,
    "channel": "fax",
    "ordered_on": "2026-03-14",
    "sku": "LAMP-7",
    "vip": True,
    "customer": "Erika Mustermann",
    "items": [1, 2, 3],
    "gift": None,
    "count": 12,
    "Kunde": "x",
}


@pytest.fixture
def refunds(people: People) -> People:
    Organisation.objects.filter(pk=people.acme.pk).update(context_policy=REFUNDS)
    return people


def tried(user: Any, text: str, status: int = 200) -> str:
    answer = signed_in(user).post(PAGE, {"log": "acme", "record": text})
    assert answer.status_code == status, answer.content[:500]
    page: str = answer.content.decode()
    check(page)
    return page


def rows(page: str) -> dict[str, tuple[str, str, str]]:
    """Field -> form, what reads, state."""
    found = re.findall(
        r'<th scope="row"><bdi>([^<]*)</bdi></th>\s*<td>([^<]*)</td>\s*'
        r"<td><bdi>([^<]*)</bdi></td>\s*<td>([^<]*)</td>",
        page,
    )
    return {name: (form, shown_, state) for name, form, shown_, state in found}


def test_default_policy_is_told_in_words(people: People) -> None:
    page = shown(people.ben, PAGE)
    check(page)
    assert "All actions: <bdi>default@1</bdi>" in page
    assert "There are no rules" in page
    assert "Nobody has changed the choice since the organisation was set up" in page
    (chosen,) = policies_chosen({})
    assert chosen.digest in page


def test_each_choice_has_version_hash_and_rules(refunds: People) -> None:
    page = shown(refunds.ben, PAGE)
    check(page)
    assert "All other actions: <bdi>strict@1</bdi>" in page.replace("</bdi>: <bdi>", ": <bdi>")
    for label in ("strict@1", "example-refunds@1"):
        assert policy_digest(policies()[label]) in page
    for words in (
        "not even their names",
        "with edges at 0, 100, 250, 500, 1000",
        "one of: chat, mail, phone",
        "to the month",
        "Only that there is a value",
    ):
        assert words in page


def test_the_entry_of_the_last_change_is_linked(people: People) -> None:
    adam = person("adam", people.acme, "admin")
    address = f"/console/ledger/organisation/{people.acme.pk}/change/"
    form = {"title": "Acme", "context_policy": json.dumps(REFUNDS)}
    assert signed_in(adam).post(address, form).status_code == 302
    # Says nothing about the policy: the form carries what the field held when it was opened.
    signed_in(adam).post(address, form | {"title": "Acme AG", "initial-context_policy": json.dumps(REFUNDS)})
    while project_search(log_id=people.log.id):
        pass
    page = shown(people.ben, PAGE)
    first = Entry.objects.get(log=people.log, seq=0)
    assert [act["detail"] for act in staff_acts(people.log)] == [
        {"fields": "context_policy"},
        {"fields": "title"},
    ]
    assert f"/console/ledger/entry/{first.pk}/change/" in page
    assert "recorded at position 0" in page


def test_policy_that_the_file_does_not_have_is_an_alarm_and_no_failure(people: People) -> None:
    Organisation.objects.filter(pk=people.acme.pk).update(context_policy={"*": "gone@3"})
    assert "The policy file has no such policy" in shown(people.ben, PAGE)
    assert "gone@3 is chosen but not in the policy file" in tried(people.ben, EXAMPLE, 400)


def test_preview_tells_every_field_its_form(refunds: People) -> None:
    text = json.dumps(
        {
            "agent": "refund-bot",
            "action": "refund.grant",
            "explanation": "The parcel was lost on the way.",
            "context": CONTEXT,
            "explanation_detail": "She called twice.",
            "data_subject": "customer-7",
        }
    )
    found = rows(tried(refunds.ben, text))
    assert found["explanation"] == ("in full", "The parcel was lost on the way.", "public")
    assert found["context.amount_eur"] == ("a band in which the number lies", "250 to 500", "sealed")
    assert found["context.channel"][1:] == ("other", "sealed")
    assert found["context.ordered_on"] == ("a part of the date", "2026-03", "sealed")
    assert found["context.sku"] == ("in full", "LAMP-7", "public")
    assert found["context.vip"] == ("its name only", "", "sealed")
    assert found["context.customer"][0].startswith("how long it is")
    assert found["context.items"][1:] == ("a list, items: 3", "sealed")
    assert found["context.gift"] == ("in full", "nothing", "public")
    assert found["context.count"] == ("a band in which the number lies", "10 to 100", "sealed")
    assert found["context._other"] == ("how many there are, without names", "1", "sealed")
    assert found["explanation_detail"] == ("that it exists", "", "sealed")
    assert found["data_subject"][2] == "not stored"


def test_preview_says_what_recording_then_does(refunds: People) -> None:
    document = decision(action="refund.grant", context=CONTEXT)
    found = rows(tried(refunds.ben, json.dumps(document)))
    log = Log.objects.select_related("organisation").get(pk=refunds.log.pk)
    stmt = parse_entry(bytes(record(log, document)[0].entry)).stmt
    assert {f"context.{name}" for name in stmt["context_summary"]} == {
        n for n in found if n.startswith("context.")
    }
    sealed = {part["ptr"] for part in stmt["sealed"]}
    assert sealed == {"/" + name.replace(".", "/") for name, row in found.items() if row[2] == "sealed"}


def test_nothing_is_recorded_and_the_page_says_so(people: People) -> None:
    assert "Nothing was recorded." in tried(people.ben, EXAMPLE)
    assert not Entry.objects.exists()


def test_booleans_without_a_rule_are_warned_of(people: People) -> None:
    text = json.dumps(decision(context={"vip": True}))
    assert "context.vip is shown as it is" in tried(people.ben, text)


@pytest.mark.parametrize(
    ("text", "code", "pointer"),
    [
        ("", "malformed_json", ""),
        ("{", "malformed_json", ""),
        ("[1]", "wrong_type", ""),
        ('{"agent": "a"', "malformed_json", ""),
        ('{"action": "a", "explanation": "Long enough to read."}', "missing_field", "/agent"),
        ('{"agent": "bot", "action": "a", "explanation": "short"}', "explanation_too_short", "/explanation"),
        (
            '{"agent": "bot", "action": "a", "explanation": "Long enough.", "colour": 1}',
            "unknown_field",
            "/colour",
        ),
        ("[" * 40, "too_deep", ""),
        ('{"a": "' + "x" * 70_000 + '"}', "too_large", ""),
        ("<script>alert(1)</script>", "malformed_json", ""),
    ],
)
def test_bad_json_is_an_error_at_the_field_and_stays(
    people: People, text: str, code: str, pointer: str
) -> None:
    page = tried(people.ben, text, 413 if code == "too_large" else 400)
    assert 'aria-describedby="record-problem"' in page
    assert f"<code>{code}</code>" in page
    assert not pointer or f"<code>{pointer}</code>" in page
    kept = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)
    assert kept
    assert kept[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">") == text
    assert "<script>alert" not in page
