"""Registry pages: who may see, add and change what, and never across organisations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model

from ledger.core.entry import parse_entry
from ledger.models import Agent, ApiKey, Entry, Membership, Organisation, Role
from tests.console.desk import ROLES, shown, signed_in
from tests.people import ALL_SCOPES, machine, person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.people import People

pytestmark = pytest.mark.db

AGENTS = "/console/ledger/agent/"
AGENT_KEYS = "/console/ledger/agentkey/"
API_KEYS = "/console/ledger/apikey/"
ORGANISATIONS = "/console/ledger/organisation/"
INTEGRITY = "/console/integrity/"
MEMBERSHIPS = "/console/ledger/membership/"
PAGES = (AGENTS, AGENT_KEYS, API_KEYS, ORGANISATIONS, MEMBERSHIPS)
REGISTRARS = {Role.AUDITOR, Role.OPERATOR, Role.ADMIN}
MAY_READ = {AGENTS: set(Role), ORGANISATIONS: REGISTRARS | {Role.VIEWER}}
MAY_ADD = {AGENTS: {Role.OPERATOR, Role.ADMIN}, API_KEYS: {Role.ADMIN}, MEMBERSHIPS: {Role.ADMIN}}


@pytest.fixture
def adam(people: People) -> User:
    """An admin of Acme who only looks on at Umbra."""
    user = person("adam", people.acme, Role.ADMIN)
    Membership.objects.create(user=user, organisation=people.other, role=Role.VIEWER)
    return user


def send(sender: Any, path: str, /, **form: Any) -> Any:
    return signed_in(sender).post(path, form)


def offered(page: str, field: str) -> list[str]:
    select = re.search(rf'<select name="{field}".*?</select>', page, re.DOTALL)
    assert select is not None, field
    return [text for text in re.findall(r"<option[^>]*>([^<]*)</option>", select[0]) if text != "---------"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", PAGES)
def test_who_sees_the_registry_and_who_adds(people: People, role: str, path: str) -> None:
    user = person("sam", people.acme, role)
    answer = signed_in(user).get(path)
    assert answer.status_code == (200 if role in MAY_READ.get(path, REGISTRARS) else 403)
    page = answer.content.decode()
    assert "Umbra" not in page
    assert "eve-bot" not in page
    may_add = role in MAY_ADD.get(path, set())
    assert signed_in(user).get(f"{path}add/").status_code == (200 if may_add else 403)


@pytest.mark.parametrize("path", PAGES)
def test_a_superuser_is_a_member_like_others(people: People, path: str) -> None:
    people.ben.is_superuser = True
    people.ben.save()
    Membership.objects.filter(user=people.ben).update(role=Role.AUDITOR)
    assert "Umbra" not in shown(people.ben, path)
    assert signed_in(people.ben).get(f"{path}add/").status_code == 403


def test_a_role_counts_in_its_own_organisation_alone(people: People, adam: User) -> None:
    """Adam is an admin of Acme, and a viewer of Umbra, whose members and keys he does not read."""
    page = shown(adam, MEMBERSHIPS)
    assert ">adam<" in page
    assert ">eve<" not in page
    theirs = Membership.objects.get(user=people.eve)
    assert signed_in(adam).get(f"{MEMBERSHIPS}{theirs.pk}/change/").status_code == 403
    key = ApiKey.objects.get(organisation=people.other)
    assert signed_in(adam).get(f"{API_KEYS}{key.pk}/change/").status_code == 403


def test_lists_take_no_form_but_that_of_their_actions(people: People, adam: User) -> None:
    answer = send(adam, MEMBERSHIPS, action="delete_selected")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
    assert send(people.ada, API_KEYS, action="revoke").status_code == 403


def test_objects_of_another_organisation_are_404(people: People) -> None:
    their_key = ApiKey.objects.get(organisation=people.other)
    paths = (
        f"{AGENTS}{people.eve_agent.agent.pk}/change/",
        f"{API_KEYS}{their_key.pk}/change/",
        f"{ORGANISATIONS}{people.other.pk}/change/",
        f"{MEMBERSHIPS}{Membership.objects.get(user=people.eve).pk}/change/",
        f"{AGENTS}{people.eve_agent.agent.pk}/history/",
        f"{AGENTS}99999999999999999999/change/",
        f"{AGENTS}abc/change/",
    )
    for path in paths:
        assert signed_in(people.ada).get(path).status_code == 404, path


@pytest.mark.parametrize("query", ["q=%00", "q='", "p=x", "p=-1", "status__exact=gone", "o=99", "colour=red"])
def test_wrong_input_in_a_stock_list_is_no_server_error(people: People, query: str) -> None:
    for path in (AGENTS, AGENT_KEYS, API_KEYS, MEMBERSHIPS, ORGANISATIONS):
        assert signed_in(people.ada).get(f"{path}?{query}").status_code < 500, (path, query)


@pytest.mark.usefixtures("people")
def test_forms_offer_nothing_of_organisations_one_does_not_manage(adam: User) -> None:
    page = shown(adam, f"{API_KEYS}add/")
    assert offered(page, "organisation") == ["Acme"]
    assert offered(page, "agent") == ["pricing-bot"]
    page = shown(adam, f"{MEMBERSHIPS}add/")
    assert offered(page, "organisation") == ["Acme"]
    assert "eve" not in offered(page, "user")
    assert offered(page, "agents") == ["pricing-bot"]


def test_a_key_for_another_organisation_is_refused(people: People, adam: User) -> None:
    before = ApiKey.objects.count()
    answer = send(
        adam, f"{API_KEYS}add/", organisation=people.other.pk, title="Mine", scopes=["decisions:read"]
    )
    assert answer.status_code == 200
    assert "Select a valid choice" in answer.content.decode()
    assert ApiKey.objects.count() == before


def test_an_onlooker_changes_nothing_there(people: People, adam: User) -> None:
    theirs = people.eve_agent.agent
    answer = send(adam, f"{AGENTS}{theirs.pk}/change/", title="Mine now", status="active", labels="{}")
    assert answer.status_code == 403
    theirs.refresh_from_db()
    assert theirs.title != "Mine now"


def test_nobody_makes_himself_a_member_elsewhere(people: People, adam: User) -> None:
    answer = send(adam, f"{MEMBERSHIPS}add/", user=people.ben.pk, organisation=people.other.pk, role="admin")
    assert answer.status_code == 200
    assert not Membership.objects.filter(user=people.ben, organisation=people.other).exists()


def test_an_assigned_agent_must_be_of_the_same_organisation(people: People, adam: User) -> None:
    second = Organisation.objects.create(slug="second", title="Second")
    Membership.objects.create(user=adam, organisation=second, role=Role.ADMIN)
    newcomer = get_user_model().objects.create_user("nina", is_staff=True)
    answer = send(
        adam,
        f"{MEMBERSHIPS}add/",
        user=newcomer.pk,
        organisation=second.pk,
        role="manufacturer",
        agents=[people.ada_agent.agent.pk],
    )
    assert "Choose agents of the same organisation." in answer.content.decode()
    assert not Membership.objects.filter(user=newcomer).exists()


def test_admin_adds_a_member_and_changes_the_role(people: People, adam: User) -> None:
    newcomer = get_user_model().objects.create_user("nina", is_staff=True)
    send(adam, f"{MEMBERSHIPS}add/", user=newcomer.pk, organisation=people.acme.pk, role="viewer")
    made = Membership.objects.get(user=newcomer)
    send(adam, f"{MEMBERSHIPS}{made.pk}/change/", role="auditor", user=people.ben.pk)
    made.refresh_from_db()
    assert (made.role, made.user) == ("auditor", newcomer)


def test_agent_is_registered_with_a_checked_endpoint(people: People) -> None:
    form = {"organisation": people.acme.pk, "title": "Stock", "status": "active", "labels": "{}"}
    answer = send(people.ada, f"{AGENTS}add/", slug="stock-bot", endpoint="https://169.254.169.254/x", **form)
    assert answer.status_code == 200
    assert 'class="errorlist"' in answer.content.decode()
    assert not Agent.objects.filter(slug="stock-bot").exists()
    answer = send(people.ada, f"{AGENTS}add/", slug="stock-bot", **form)
    assert answer.status_code == 302
    assert Agent.objects.get(slug="stock-bot").organisation == people.acme


@pytest.mark.parametrize("slug", ["Stock", "a", "-x", "x" * 65, "stock bot", "st\u00f6ck"])
def test_agent_with_a_bad_slug_is_refused_at_the_field(people: People, slug: str) -> None:
    form = {"organisation": people.acme.pk, "title": "Stock", "status": "active", "labels": "{}"}
    answer = send(people.ada, f"{AGENTS}add/", slug=slug, **form)
    assert answer.status_code == 200
    assert 'class="errorlist"' in answer.content.decode()


def test_operator_registers_agents_but_does_not_change_them(people: People) -> None:
    agent = people.ada_agent.agent
    answer = send(people.ada, f"{AGENTS}{agent.pk}/change/", title="Other", status="retired", labels="{}")
    assert answer.status_code == 403


def test_slug_and_organisation_of_an_agent_stay(people: People, adam: User) -> None:
    agent = people.ada_agent.agent
    answer = send(
        adam,
        f"{AGENTS}{agent.pk}/change/",
        title="Prices",
        status="suspended",
        labels="{}",
        slug="renamed",
        organisation=people.other.pk,
    )
    assert answer.status_code == 302, answer.content.decode()
    agent.refresh_from_db()
    assert (agent.slug, agent.organisation, agent.status) == ("pricing-bot", people.acme, "suspended")


def test_key_is_shown_once_works_and_can_be_revoked(people: People, adam: User) -> None:
    browser = signed_in(adam)
    form = {
        "organisation": people.acme.pk,
        "agent": people.ada_agent.agent.pk,
        "title": "Shop floor",
        "scopes": list(ALL_SCOPES),
    }
    first = browser.post(f"{API_KEYS}add/", form, follow=True).content.decode()
    found = re.search(r"ecp_[a-z0-9]{8}_[A-Za-z0-9_-]{43}", first)
    assert found is not None
    text = found[0]
    assert text not in browser.get(API_KEYS).content.decode()
    row = ApiKey.objects.get(title="Shop floor")
    assert text not in browser.get(f"{API_KEYS}{row.pk}/change/").content.decode()
    headers: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {text}"}
    assert browser.get("/api/v1/decisions/", **headers).status_code == 200
    assert row.scopes == sorted(ALL_SCOPES)

    browser.post(API_KEYS, {"action": "revoke", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.revoked_at is not None
    assert browser.get("/api/v1/decisions/", **headers).status_code == 401


def test_revoking_reaches_only_managed_organisations(people: People, adam: User) -> None:
    theirs = ApiKey.objects.get(organisation=people.other)
    signed_in(adam).post(API_KEYS, {"action": "revoke", "_selected_action": [theirs.pk]})
    theirs.refresh_from_db()
    assert theirs.revoked_at is None
    signed_in(people.ada).post(API_KEYS, {"action": "revoke", "_selected_action": [theirs.pk]})
    assert not ApiKey.objects.filter(revoked_at__isnull=False).exists()


def test_eleventh_key_of_an_agent_is_a_page_of_the_problem(people: People, adam: User) -> None:
    agent = people.ada_agent.agent
    form = {"organisation": people.acme.pk, "agent": agent.pk, "scopes": ["decisions:read"]}
    for _ in range(9):
        assert send(adam, f"{API_KEYS}add/", **form).status_code == 302
    answer = send(adam, f"{API_KEYS}add/", **form)
    assert answer.status_code == 409
    assert "revoke one first" in answer.content.decode()
    assert ApiKey.objects.filter(agent=agent).count() == 10


def test_a_halted_ledger_is_said_on_its_pages(people: People) -> None:
    assert "takes no new entries" not in shown(people.ben, INTEGRITY)
    people.log.mode = "halt"
    people.log.save(update_fields=["mode"])
    for path in (INTEGRITY, "/console/ledger/decision/", "/console/ledger/entry/"):
        assert "takes no new entries" in shown(people.ben, path)


def test_lists_do_not_ask_once_a_row(people: People, django_assert_max_num_queries: Any) -> None:
    for number in range(20):
        machine(people.acme, f"robot-{number}")
    browser = signed_in(people.ada)
    for path in PAGES:
        with django_assert_max_num_queries(13):
            browser.get(path)


def acts() -> list[tuple[str, str, str]]:
    said = [
        parse_entry(bytes(row.entry)).stmt for row in Entry.objects.filter(kind="ecp.staff/1").order_by("seq")
    ]
    return [(stmt["actor"], stmt["action"], stmt["object"]) for stmt in said]


def test_each_change_is_one_entry_by_the_pseudonym(people: People, adam: User) -> None:
    agent = people.ada_agent.agent
    me = f"staff:{Membership.objects.get(user=adam, organisation=people.acme).pseudonym}"
    form = {"title": "Prices", "status": "active", "labels": "{}", "initial-labels": "{}"}
    send(adam, f"{AGENTS}{agent.pk}/change/", **form)
    send(adam, f"{AGENTS}{agent.pk}/change/", **form)  # the same again changes nothing
    ben = Membership.objects.get(user=people.ben)
    send(adam, f"{MEMBERSHIPS}{ben.pk}/change/", role="auditor")
    send(adam, f"{API_KEYS}add/", organisation=people.acme.pk, agent=agent.pk, scopes=["decisions:read"])
    key = ApiKey.objects.latest("pk")
    signed_in(adam).post(API_KEYS, {"action": "revoke", "_selected_action": [key.pk]})
    assert acts() == [
        (me, "agent.change", "agent:pricing-bot"),
        (me, "membership.change", f"membership:{ben.pseudonym}"),
        (me, "apikey.create", f"apikey:{key.prefix}"),
        (me, "apikey.revoke", f"apikey:{key.prefix}"),
    ]
    assert Entry.objects.filter(log=people.other_log).count() == 0


@pytest.mark.parametrize("what", ["agent", "key", "revoke"])
def test_a_halted_ledger_refuses_the_change_too(people: People, adam: User, what: str) -> None:
    people.log.mode = "halt"
    people.log.save(update_fields=["mode"])
    agent, key = people.ada_agent.agent, ApiKey.objects.get(organisation=people.acme)
    if what == "agent":
        answer = send(adam, f"{AGENTS}{agent.pk}/change/", title="Prices", status="active", labels="{}")
    elif what == "key":
        answer = send(adam, f"{API_KEYS}add/", organisation=people.acme.pk, scopes=["decisions:read"])
    else:
        answer = signed_in(adam).post(API_KEYS, {"action": "revoke", "_selected_action": [key.pk]})
    assert answer.status_code == 503
    assert "<code>ledger_halted</code>" in answer.content.decode()
    agent.refresh_from_db()
    key.refresh_from_db()
    assert (agent.title, key.revoked_at) == ("pricing-bot", None)
    assert ApiKey.objects.filter(organisation=people.acme).count() == 1


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ('["default@1"]', "a choice maps actions to policies"),
        ('{"*": "gone@1"}', "there is no such policy; there are: default@1, "),
        ('{"*": {"rules": {}}}', "there is no such policy"),
        ('{"Price Change": "default@1"}', "is no action of a decision"),
    ],
)
def test_a_choice_of_policies_that_would_stop_appends_is_refused(
    people: People, adam: User, choice: str, why: str
) -> None:
    path = f"{ORGANISATIONS}{people.acme.pk}/change/"
    answer = send(adam, path, title="Acme", context_policy=choice)
    assert answer.status_code == 200
    assert why in answer.content.decode()
    people.acme.refresh_from_db()
    assert people.acme.context_policy == {}
    assert acts() == []


def test_a_good_choice_of_policies_is_taken(people: People, adam: User) -> None:
    path = f"{ORGANISATIONS}{people.acme.pk}/change/"
    choice = '{"*": "strict@1", "refund.grant": "example-refunds@1"}'
    assert send(adam, path, title="Acme", context_policy=choice).status_code == 302
    people.acme.refresh_from_db()
    assert people.acme.context_policy == {"*": "strict@1", "refund.grant": "example-refunds@1"}
    assert [action for _, action, _ in acts()] == ["organisation.change"]
