"""Rotation of the key encryption key: nothing private is lost, and the old key is of no use afterwards."""

from __future__ import annotations

import json
import os
from io import StringIO
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.core.management import call_command

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.management.commands.ledger_rewrap import Command
from ledger.models import MacRoot, SubjectKey
from ledger.services import sealing
from ledger.services.ingest import ingest
from ledger.services.rewrap import Rewrapped, keys_rewrap

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db

COUNT = 7


def rewrap(*arguments: str) -> tuple[int, str]:
    out, code = StringIO(), 0
    try:
        call_command("ledger_rewrap", *arguments, stdout=out)
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, out.getvalue()


@pytest.fixture
def uids(people: People) -> list[str]:
    """Decisions with a private value, each of a subject of its own."""
    made = [new_uuid7(utc_now()) for _ in range(COUNT)]
    lines = [
        json.dumps({
            "id": uid, "agent": "pricing-bot", "action": "price.change", "data_subject": f"person-{uid}",
            "explanation": "The item is cheaper elsewhere.", "context": {"note": f"words of {uid}"},
        }).encode()
        for uid in made
    ]  # fmt: skip
    assert ingest(log=people.log, lines=lines, actor="system:ingest", clock=utc_now).accepted == COUNT
    return made


def rotate(settings: Any) -> bytes:
    """A new KEK in force, the old one as fallback; returns the old one."""
    old = bytes(settings.ECP_KEK)
    settings.ECP_KEK, settings.ECP_KEK_FALLBACKS = os.urandom(32), [old]
    sealing.forget_keys()
    return old


def opened(people: People, uid: str) -> list[bytes]:
    parts = sealing.open_parts(log_id=people.log.id, origin=people.log.origin, uid=UUID(uid))
    return [part.value_jcs for part in parts]


def test_private_values_and_handles_survive_without_the_old_key(
    people: People, uids: list[str], settings: Any
) -> None:
    handle = sealing.handle_mac("acme", f"person-{uids[0]}", utc_now())
    rotate(settings)
    code, said = rewrap("--json", "--batch", "3")
    assert code == 0, said
    assert json.loads(said) == {
        "kek_id": sealing.kek_id(settings.ECP_KEK), "rewrapped": COUNT + 1, "left": 0, "missing_keks": {},
        "damaged": [],
    }  # fmt: skip
    settings.ECP_KEK_FALLBACKS = []
    sealing.forget_keys()
    assert opened(people, uids[3]) == [json.dumps(f"words of {uids[3]}").encode()]
    assert sealing.handle_mac("acme", f"person-{uids[0]}", utc_now()) == handle
    assert SubjectKey.objects.filter(handle_mac=handle).exists()


def test_second_run_changes_nothing(uids: list[str], settings: Any) -> None:
    del uids
    rotate(settings)
    rewrap()
    before = dict(SubjectKey.objects.values_list("id", "wrapped_dek"))
    code, said = rewrap()
    assert (code, said.splitlines()[0][:2]) == (0, "0 ")
    assert dict(SubjectKey.objects.values_list("id", "wrapped_dek")) == before


def test_cut_off_run_is_taken_up_again(uids: list[str], settings: Any) -> None:
    del uids
    rotate(settings)

    def cut(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keys_rewrap(batch=2, progress=cut)
    assert SubjectKey.objects.filter(kek_id=sealing.kek_id(settings.ECP_KEK)).count() == 2
    done = keys_rewrap(batch=2)
    assert (done.rewrapped, done.left) == (COUNT - 2, 0)


def test_missing_kek_is_named_and_nothing_is_changed(uids: list[str], settings: Any) -> None:
    del uids
    old = rotate(settings)
    settings.ECP_KEK_FALLBACKS = []
    code, said = rewrap()
    assert code == 1
    assert f"{COUNT + 1:,} lie under {sealing.kek_id(old)}: add that key to ECP_KEK_FALLBACKS" in said
    assert set(SubjectKey.objects.values_list("kek_id", flat=True)) == {sealing.kek_id(old)}


def test_damaged_row_is_named_and_the_others_are_rewrapped(uids: list[str], settings: Any) -> None:
    del uids
    row = SubjectKey.objects.order_by("id")[2]
    SubjectKey.objects.filter(pk=row.pk).update(wrapped_dek=bytes(60))
    rotate(settings)
    code, said = rewrap()
    assert code == 1
    assert f"subject key {row.id} does not open" in said
    assert SubjectKey.objects.exclude(kek_id=sealing.kek_id(settings.ECP_KEK)).count() == 1


def test_key_stored_under_the_old_kek_meanwhile_is_told(uids: list[str], settings: Any) -> None:
    del uids
    rotate(settings)
    new = settings.ECP_KEK
    late: list[SubjectKey] = []

    def an_old_process_stores_one(_done: int, _total: int) -> None:
        if not late:  # an id that this run has passed already
            settings.ECP_KEK, settings.ECP_KEK_FALLBACKS = settings.ECP_KEK_FALLBACKS[0], [new]
            name, wrapped = sealing.wrap(bytes(32), sealing.dek_label(UUID(int=1)))
            late.append(
                SubjectKey.objects.create(id=UUID(int=1), kek_id=name, wrapped_dek=wrapped, created=utc_now())
            )
            settings.ECP_KEK, settings.ECP_KEK_FALLBACKS = new, [settings.ECP_KEK]

    assert keys_rewrap(progress=an_old_process_stores_one).left == 1
    assert keys_rewrap().left == 0
    assert MacRoot.objects.get().kek_id == sealing.kek_id(new)


def test_the_command_says_what_to_do_about_keys_stored_meanwhile() -> None:
    out = StringIO()
    Command(stdout=out)._tell(Rewrapped("new", rewrapped=3, left=2))
    assert (
        "2 were stored meanwhile under an older key: restart the processes that still use it"
        in out.getvalue()
    )
