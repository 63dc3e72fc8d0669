"""Keys around private values: the ring of KEKs, the MAC root, subject keys, and parts that do not open."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from cryptography.exceptions import InvalidTag
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import Unavailable
from ledger.core.entry import parse_entry
from ledger.core.sealing import commitment
from ledger.core.summary import DEFAULT
from ledger.models import Entry, MacRoot, SealedPart, SubjectKey
from ledger.services import policies, sealing
from tests.ledger.test_append import decision, post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.test import Client

    from tests.databases import Cluster
    from tests.people import People

LABEL = b"label"


def at_once(act: Callable[[int], Any], times: int) -> list[Any]:
    def guarded(number: int) -> Any:
        try:
            return act(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(guarded, range(times)))


# --- the ring
@pytest.mark.unit
def test_key_wrapped_under_an_older_kek_opens_while_that_is_a_fallback(settings: Any) -> None:
    key, old = bytes(range(32)), settings.ECP_KEK
    name, wrapped = sealing.wrap(key, LABEL)
    settings.ECP_KEK, settings.ECP_KEK_FALLBACKS = bytes([7]) * 32, [old]
    assert sealing.unwrap(name, wrapped, LABEL) == key
    assert sealing.wrap(key, LABEL)[0] != name
    settings.ECP_KEK_FALLBACKS = []
    with pytest.raises(LookupError, match=name):
        sealing.unwrap(name, wrapped, LABEL)


@pytest.mark.unit
def test_wrapped_key_opens_in_its_own_place_only() -> None:
    name, wrapped = sealing.wrap(bytes(32), LABEL)
    assert wrapped != sealing.wrap(bytes(32), LABEL)[1]
    for other_label, other in ((b"other", wrapped), (LABEL, wrapped[:-1] + bytes([wrapped[-1] ^ 1]))):
        with pytest.raises(InvalidTag):
            sealing.unwrap(name, other, other_label)


# --- the MAC root
@pytest.mark.db
@pytest.mark.usefixtures("fresh_process")
def test_processes_that_start_at_once_share_one_mac_root() -> None:
    roots = at_once(lambda _: sealing.mac_root(utc_now()), 6)
    assert len(set(roots)) == 1
    assert MacRoot.objects.count() == 1


@pytest.mark.db
@pytest.mark.usefixtures("fresh_process")
def test_handles_are_found_within_their_organisation_only() -> None:
    now = utc_now()
    assert sealing.handle_mac("acme", "erika", now) == sealing.handle_mac("acme", "erika", now)
    assert len({sealing.handle_mac(*pair, now) for pair in (("acme", "erika"), ("umbra", "erika"))}) == 2
    assert sealing.handle_mac("acme", "erika", now) != sealing.request_mac(b"acme\nerika", now)


@pytest.mark.db
@pytest.mark.usefixtures("fresh_process")
def test_first_records_about_one_person_at_once_share_one_key() -> None:
    mac = sealing.handle_mac("acme", "erika", utc_now())
    keys = at_once(lambda _: sealing.subject_key(mac, utc_now()), 6)
    assert len({key.id for key in keys}) == 1
    assert SubjectKey.objects.count() == 1


@pytest.mark.db
@pytest.mark.usefixtures("fresh_process")
def test_cache_of_subject_keys_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_MAX_CACHED", 3)
    now = utc_now()
    macs = [sealing.handle_mac("acme", f"person-{number}", now) for number in range(5)]
    made = [sealing.subject_key(mac, now) for mac in macs]
    assert len(sealing._subject_keys) <= 3
    assert [sealing.subject_key(mac, now).id for mac in macs] == [key.id for key in made]


# --- parts
@pytest.fixture
def uid(client: Client, people: People) -> UUID:
    document = decision(
        context={"name": "Erika", "driver": "Frank", "amount": 12.5},
        data_subject="erika",
        data_subjects={"/context/driver": "frank"},
    )
    answer = post(client, people, document)
    assert answer.status_code == 201, answer.content
    return UUID(answer.json()["id"])


def opened(people: People, uid: UUID) -> list[sealing.OpenedPart]:
    return sealing.open_parts(log_id=people.log.id, origin=people.log.origin, uid=uid)


@pytest.mark.db
def test_parts_open_and_prove_what_was_committed(people: People, uid: UUID) -> None:
    stmt = parse_entry(bytes(Entry.objects.get(uid=uid).entry)).stmt
    committed = {part["ptr"]: part["c"] for part in stmt["sealed"]}
    parts = opened(people, uid)
    assert [part.ptr for part in parts] == sorted(committed)
    for part in parts:
        assert commitment(part.r, str(uid), part.ptr, part.value_jcs) == committed[part.ptr]
    assert SubjectKey.objects.count() == 2
    by_key = SealedPart.objects.filter(uid=uid).values_list("ptr", "subject_key_id")
    keys = dict(by_key)
    assert keys["/context/name"] == keys["/context/amount"] != keys["/context/driver"]


@pytest.mark.db
@pytest.mark.parametrize("change", ["ciphertext", "nonce", "place"])
def test_part_that_was_changed_or_moved_does_not_open(people: People, uid: UUID, change: str) -> None:
    rows = SealedPart.objects.filter(uid=uid, ptr="/context/name")
    row = rows.get()
    if change == "place":
        rows.update(uid=(uid := uuid4()))
    else:
        value = bytes(getattr(row, change))
        rows.update(**{change: value[:-1] + bytes([value[-1] ^ 1])})
    with pytest.raises(ValueError, match="/context/name"):
        opened(people, uid)


@pytest.mark.db
def test_part_whose_kek_is_missing_says_which(people: People, uid: UUID, settings: Any) -> None:
    settings.ECP_KEK = bytes([9]) * 32
    with pytest.raises(LookupError, match="ECP_KEK_FALLBACKS"):
        opened(people, uid)


# --- which policy applies
@pytest.fixture
def policy_file(tmp_path: Path, settings: Any) -> Iterator[Path]:
    policies.policies.cache_clear()
    settings.CONTEXT_POLICY_FILE = tmp_path / "policy.yml"
    yield settings.CONTEXT_POLICY_FILE
    policies.policies.cache_clear()


@pytest.mark.unit
def test_policy_is_chosen_by_action_then_by_star(policy_file: Path) -> None:
    policy_file.write_text(
        "policies:\n  - {name: plain, version: 1, rules: {}}\n  - {name: none, version: 2, names: none}\n"
    )
    choice = {"price.change": "plain@1", "*": "none@2"}
    assert policies.policy_for(choice, "price.change").label == "plain@1"
    assert policies.policy_for(choice, "refund.approve").label == "none@2"
    assert policies.policy_for({}, "price.change") is DEFAULT
    with pytest.raises(ImproperlyConfigured, match="c@1 is chosen but not in the policy file"):
        policies.policy_for({"*": "c@1"}, "price.change")


@pytest.mark.unit
@pytest.mark.parametrize(
    "text",
    [
        "", "policies: 7", "policies:\n  - {name: a}", "other: []", "policies: [\n",
        "policies:\n  - {name: a, version: 1, rules: {x: {action: guess}}}\n",
        "policies: []\npolicies: []\n",
    ],
)  # fmt: skip
def test_policy_file_that_breaks_a_rule_names_itself(policy_file: Path, text: str) -> None:
    policy_file.write_text(text)
    with pytest.raises(ImproperlyConfigured, match=policy_file.name):
        policies.policy_for({"*": "a@1"}, "price.change")


@pytest.mark.unit
def test_missing_policy_file_names_itself(policy_file: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=policy_file.name):
        policies.policies()


@pytest.mark.db
@pytest.mark.usefixtures("fresh_process")
def test_key_that_is_erased_again_and_again_is_busy_and_no_fault(
    cluster: Cluster, database_name: str
) -> None:
    """The row goes between its insertion and the look at it, as by an erasure at the same moment."""
    mac = sealing.handle_mac("acme", "erika", utc_now())
    with cluster.connect(database_name) as superuser:
        superuser.execute(
            "CREATE FUNCTION test_erased() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN DELETE FROM ledger_subjectkey WHERE id = new.id; RETURN NULL; END $$; "
            "CREATE TRIGGER test_erased AFTER INSERT ON ledger_subjectkey "
            "FOR EACH ROW EXECUTE FUNCTION test_erased()"
        )
    try:
        with pytest.raises(Unavailable, match="ledger_busy"):
            sealing.subject_key(mac, utc_now())
    finally:
        with cluster.connect(database_name) as superuser:
            superuser.execute("DROP FUNCTION test_erased CASCADE")
    assert sealing.subject_key(mac, utc_now()).row is None
