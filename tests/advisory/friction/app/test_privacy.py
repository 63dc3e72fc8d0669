"""Values of a proposal's context: sealed on every page until a reason is on record, and never in the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from advisory.friction.models import FrictionAdvice, FrictionDuty
from ecp_project.console.models import Reveal
from ecp_project.kernel import privacy
from ledger.models import Entry, Membership, Role
from tests.advisory.friction.world import DF1, SHIPPED, activate
from tests.console.desk import REASON, record_path, staff_acts

if TYPE_CHECKING:
    from django.test import Client

    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db
FRICTION = "/console/friction/"
# Nothing else on a page looks like these: an amount and a currency that a reason quotes, and two more facts.
AMOUNT, CURRENCY, PEOPLE, CONFIDENCE = 73914655, "XAU", 4711883, 37
PLANTED = (str(AMOUNT), CURRENCY, str(PEOPLE))
PRIVATE: dict[str, Any] = DF1 | {
    "explanation": "Pay the supplier's invoice that is due today.",
    "context": DF1["context"]
    | {"amount_minor": AMOUNT, "currency": CURRENCY, "affected_people": PEOPLE, "confidence_pct": CONFIDENCE},
}
SEALERS = ("viewer", "manufacturer", "admin")


@pytest.fixture
def told(world: World) -> dict[str, str]:
    """An advice over planted values with everything that can stand around it, and all pages that show it."""
    membership = Membership.objects.get(user=world.staff["manufacturer"])
    membership.agents.set(world.people.acme.agents.all())
    advice = world.ask(PRIVATE).json()
    reason = {"reason_code": "time_critical", "reason_text": "The cut-off at the bank is near."}
    bypass = world.post(f"advice/{advice['id']}/bypass/", {"steps": "all"} | reason).json()
    uid = world.decide(
        {"advice_id": advice["id"], "level": "high", "bypassed": True, "bypass_reason": "The bank closes."},
        **PRIVATE,
    )
    world.ask(PRIVATE)  # one whose steps still wait
    world.reconcile()
    decided, advised, bypassed = (Entry.objects.get(uid=one) for one in (uid, advice["id"], bypass["id"]))
    return {
        "advice": f"{FRICTION}frictionadvice/{advice['id']}/change/",
        "decision": record_path(decided),
        "advice entry": record_path(advised),
        "bypass entry": record_path(bypassed),
        "bypass": f"{FRICTION}frictionbypass/{bypass['id']}/change/",
        "advices": f"{FRICTION}frictionadvice/",
        "bypasses": f"{FRICTION}frictionbypass/",
        "friction": FRICTION,
        "queue": "/console/reviews/?tab=friction.waiting",
        "reviews": "/console/reviews/?tab=friction.bypass_reviews",
        "overview": "/console/?full=1",
    }


def page(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code in {200, 403, 404}, (path, answer.content[:500])
    return str(answer.content.decode())


def give_reason(browser: Client, text: str) -> str:
    """Follow the page's own link to the form, and send it; where the form leads back to."""
    link = text.partition('<a class="button" href="/console/reveal/?')[2].partition('"')[0]
    assert link, "the page offers no way to give a reason"
    form = browser.get(f"/console/reveal/?{link.replace('&amp;', '&')}")
    back = form.content.decode().partition('name="next" value="')[2].partition('"')[0].replace("&amp;", "&")
    answer = browser.post("/console/reveal/", {"log": "acme", "reason": REASON, "next": back})
    assert answer.status_code == 302
    return str(answer.headers["Location"])


def planted(text: str) -> list[str]:
    return [value for value in PLANTED if value in text]


@pytest.mark.parametrize("role", Role.values)
def test_no_page_shows_a_private_value_without_a_reason(
    world: World, told: dict[str, str], role: str
) -> None:
    browser = world.client(role)
    for name, path in told.items():
        assert planted(page(browser, path)) == [], name
    sealed = page(browser, told["advice"])
    assert "PAY-100</bdi></strong> (+35): <bdi>Large payment</bdi>" in sealed
    assert "body:/context/amount_minor" in sealed
    assert "sealed" in sealed.partition("Facts and where")[2].partition("</table>")[0]
    assert ("/console/reveal/?" in sealed) is (role in {"auditor", "operator"})
    assert not Reveal.objects.exists()


@pytest.mark.parametrize("role", ["auditor", "operator"])
def test_a_reason_opens_the_advice_lists_it_and_the_end_seals_it_again(
    world: World, told: dict[str, str], role: str
) -> None:
    browser = world.client(role)
    assert give_reason(browser, page(browser, told["advice"])) == told["advice"]
    opened = page(browser, told["advice"])
    assert f"Moves {AMOUNT} {CURRENCY}" in opened
    for part in ("Facts and where", "Every comparison"):
        assert str(PEOPLE) in opened.partition(part)[2], part
    advice = FrictionAdvice.objects.get(pk=told["advice"].split("/")[-3])
    assert [row.uid for row in Reveal.objects.all()] == [advice.pk]
    page(browser, told["advice"])
    assert Reveal.objects.count() == 1
    browser.post("/console/reveal/end/", {"next": told["advice"]})
    assert planted(page(browser, told["advice"])) == []
    begun, ended = staff_acts(world.people.log)[-2:]
    assert (begun["action"], begun["reason"]) == ("reveal.begin", REASON)
    assert (ended["action"], ended["detail"]["records"]) == ("reveal.end", 1)


def test_the_panel_of_a_decision_opens_with_it_and_names_the_advice(
    world: World, told: dict[str, str]
) -> None:
    browser = world.client("operator")
    assert give_reason(browser, page(browser, told["decision"])) == told["decision"]
    assert f"Moves {AMOUNT} {CURRENCY}" in page(browser, told["decision"])
    advice = FrictionAdvice.objects.get(pk=told["advice"].split("/")[-3])
    assert {row.uid for row in Reveal.objects.all()} == {advice.pk, advice.decision_id}


def test_a_session_opens_nothing_for_another_browser_role_or_organisation(
    world: World, told: dict[str, str]
) -> None:
    browser = world.client("operator")
    give_reason(browser, page(browser, told["advice"]))
    assert planted(page(world.client("operator"), told["advice"])) == []
    stranger = world.client("stranger")
    assert stranger.get(told["advice"]).status_code == 404
    Membership.objects.filter(user=world.staff["operator"]).update(role="viewer")
    assert planted(page(browser, told["advice"])) == []


def test_who_holds_a_duty_answers_without_reading_private_values(world: World, told: dict[str, str]) -> None:
    member = Membership.objects.get(user=world.staff["viewer"])
    FrictionDuty.objects.create(organisation=world.people.acme, label="privacy", member=member)
    assert planted(page(world.client("viewer"), told["advice"])) == []


def test_advice_without_private_values_offers_nothing_and_joins_no_list(world: World) -> None:
    advice = world.ask(DF1 | {"context": {}}).json()
    browser = world.client("operator")
    path = f"{FRICTION}frictionadvice/{advice['id']}/change/"
    assert "/console/reveal/?" not in page(browser, path)
    browser.post("/console/reveal/", {"log": "acme", "reason": REASON})
    browser.get("/console/")  # shows the message that the reason is on record
    assert "Private values" not in page(browser, path)
    assert not Reveal.objects.exists()


def test_a_reason_that_quotes_nothing_private_stays(bare_world: World) -> None:
    rules = SHIPPED.replace(b"cannot be undone and runs in {environment}", b"on {action} cannot be undone")
    assert rules != SHIPPED
    activate(bare_world.people, rules)
    advice = bare_world.ask(PRIVATE).json()
    text = page(bare_world.client("viewer"), f"{FRICTION}frictionadvice/{advice['id']}/change/")
    assert "The action on payment.transfer cannot be undone." in text


def test_sensitive_values_stay_hidden_in_an_open_session(bare_world: World) -> None:
    rules = SHIPPED.replace(b"amount_minor:        {", b"amount_minor: {sensitive: true, ")
    assert rules != SHIPPED
    activate(bare_world.people, rules)
    advice = bare_world.ask(PRIVATE).json()
    path = f"{FRICTION}frictionadvice/{advice['id']}/change/"
    browser = bare_world.client("operator")
    give_reason(browser, page(browser, path))
    assert planted(page(browser, path)) == [CURRENCY, str(PEOPLE)]


def test_without_a_console_nothing_is_open(
    world: World, told: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = world.client("operator")
    give_reason(browser, page(browser, told["advice"]))
    monkeypatch.setattr(privacy, "_installed", [])
    assert planted(page(browser, told["advice"])) == []


@pytest.mark.parametrize("role", Role.values)
def test_the_api_tells_people_no_private_value(world: World, told: dict[str, str], role: str) -> None:
    uid = told["advice"].split("/")[-3]
    browser = world.client(role)
    browser.post("/console/reveal/", {"log": "acme", "reason": REASON})
    for path in (f"advice/{uid}/", "advice/", "bypasses/"):
        answer = browser.get(f"/api/v1/friction/{path}")
        assert answer.status_code in {200, 403}, path
        assert planted(answer.content.decode()) == [], path
    document = browser.get(f"/api/v1/friction/advice/{uid}/").json()
    assert "PAY-100 (+35) Large payment" in document["explanation"]
    assert document["input_sha256"] is None
    assert {"field": "currency", "from": "body:/context/currency", "state": "present", "sealed": True} in (
        document["facts"]
    )


def test_agents_still_read_the_reasons_of_their_own_advice(world: World, told: dict[str, str]) -> None:
    document = world.get(f"advice/{told['advice'].split('/')[-3]}/").json()
    assert f"Moves {AMOUNT} {CURRENCY}" in document["explanation"]
