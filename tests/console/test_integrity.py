"""The integrity page: the verdict first, checkpoints and their consistency, runs and history."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ecp_project.kernel.clock import utc_now
from ledger.models import Checkpoint, Log, Verification
from ledger.services.erasure import erase_subject
from ledger.services.operations import mode_switch
from ledger.services.projections import project_search
from ledger.services.verification_runs import verification_request, verification_step
from tests.console.desk import ROLES, decision, record, shown, signed_in
from tests.people import person

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.people import People
    from tests.tampering import Flip, SuperuserRuns

pytestmark = pytest.mark.db
PAGE = "/console/integrity/"
CONSISTENCY = "/console/integrity/consistency/"
VERIFY = "/console/integrity/verify/"


@pytest.fixture
def log(people: People, checkpointer: Checkpointer) -> Log:
    """Five entries under three checkpoints."""
    for count in (1, 2, 2):
        record(people.log, *[decision() for _ in range(count)])
        checkpointer.turn()
    return people.log


def verified(log: Log) -> Verification:
    verification_request(log=log, requested_by="staff:x", now=utc_now())
    row = verification_step(now=utc_now())
    assert row is not None
    return row


def verdict(page: str) -> str:
    found = re.search(r'id="verdict">(.*?)</p>', page, re.DOTALL)
    assert found is not None
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


def test_verdict_is_the_first_sentence(log: Log, people: People) -> None:
    assert verdict(shown(people.ben, PAGE)) == "Nothing has been verified in full yet."
    verification_request(log=log, requested_by="staff:x", now=utc_now())
    assert verdict(shown(people.ben, PAGE)) == "The first full verification is running."
    verification_step(now=utc_now())
    page = shown(people.ben, PAGE)
    assert verdict(page).startswith("All 5 entries recorded until ")
    assert page.index('id="verdict"') < page.index('id="log-title"') < page.index('id="runs-title"')


def test_failure_names_the_first_bad_position(
    log: Log, people: People, superuser_runs: SuperuserRuns
) -> None:
    superuser_runs("ledger_entry", "UPDATE ledger_entry SET risk = 'low' WHERE seq = 3")
    verified(log)
    page = shown(people.ben, PAGE)
    assert re.search(r"^The verification of .* failed, first at position 3\. Keep", verdict(page))
    assert "projection_mismatch, first bad position 3" in page


def test_missing_evidence_is_neither_sound_nor_failed(log: Log, people: People) -> None:
    Verification.objects.create(
        log=log, started_at=utc_now(), ended_at=utc_now(), report={"incomplete": "no public key"}
    )
    page = shown(people.ben, PAGE)
    assert "could not be completed: evidence is missing" in verdict(page)
    assert "not completed: no public key" in " ".join(re.sub(r"<[^>]+>", "", page).split())


def test_a_newer_run_under_way_leaves_the_last_verdict(log: Log, people: People) -> None:
    verified(log)
    verification_request(log=log, requested_by="staff:x", now=utc_now() + timedelta(seconds=5))
    page = shown(people.ben, PAGE)
    assert verdict(page).startswith("All 5 entries")
    assert "A verification is running since" in page


@pytest.mark.parametrize("role", ROLES)
def test_full_verification_is_started_by_some(log: Log, people: People, role: str) -> None:
    user = person("sam", people.acme, role)
    may = role in {"auditor", "operator", "admin"}
    assert ("Verify everything now" in shown(user, PAGE)) is may
    answer = signed_in(user).post(VERIFY, {"log": log.slug})
    assert answer.status_code == (302 if may else 403)
    assert Verification.objects.count() == may


def test_a_second_press_shows_the_run_under_way(log: Log, people: People) -> None:
    browser = signed_in(people.ada)
    first = browser.post(VERIFY, {"log": log.slug}, follow=True).content.decode()
    assert "Queued: every entry is read again" in first
    second = browser.post(VERIFY, {"log": log.slug}, follow=True).content.decode()
    assert "A verification is running already" in second
    row = Verification.objects.get()
    assert re.fullmatch(r"staff:[0-9a-f-]{36}", row.requested_by)


def test_it_can_be_started_while_the_ledger_stands_still(log: Log, people: People) -> None:
    halted = Log.objects.get(pk=log.pk)
    mode_switch(log=halted, to="halt", reason="An auditor wants it.", actor="system:shell", now=utc_now())
    assert signed_in(people.ada).post(VERIFY, {"log": log.slug}).status_code == 302
    page = shown(people.ada, PAGE)
    assert "the ledger takes no new entries" in page
    assert "Mode changed from active to halt" in page
    assert "An auditor wants it." in page


def test_start_needs_a_post_and_one_s_own_log(log: Log, people: People) -> None:
    assert signed_in(people.ada).get(VERIFY).status_code == 405
    assert signed_in(people.eve).post(VERIFY, {"log": log.slug}).status_code == 404
    assert not Verification.objects.exists()


def test_strangers_see_their_own_log_only(log: Log, people: People) -> None:
    for path in (PAGE, CONSISTENCY):
        assert signed_in(people.eve).get(path, {"log": log.slug}).status_code == 404
    page = shown(people.eve, PAGE)
    assert people.log.origin not in page
    assert people.other_log.origin in page


def test_checkpoints_tell_growth_and_signature(log: Log, people: People) -> None:
    page = shown(people.ben, PAGE)
    table = page[page.index('id="checkpoints"') : page.index('id="history"')]
    assert re.findall(r'<th scope="row" class="numeric">(\d+)</th>', table) == ["5", "3", "1"]
    assert table.count('<span class="tick-pass">verified</span>') == 3
    assert re.findall(r"<td>(\d+) more, \d+ s", table) == ["2", "2"]
    assert "the first</td>" in table
    root = bytes(Checkpoint.objects.get(log=log, size=5).root).hex()
    assert f"<code>{root[:8]}…{root[-4:]}</code>" in table


def test_only_the_newest_fifty_are_shown(people: People, checkpointer: Checkpointer) -> None:
    for _ in range(52):
        record(people.log, decision())
        checkpointer.turn()
    page = shown(people.ben, PAGE)
    table = page[page.index('id="checkpoints"') : page.index('id="history"')]
    sizes = re.findall(r'<th scope="row" class="numeric">(\d+)</th>', table)
    assert sizes == [str(size) for size in range(52, 2, -1)]
    assert "the first</td>" not in table


def test_changed_checkpoint_does_not_verify(log: Log, people: People, superuser_runs: SuperuserRuns) -> None:
    superuser_runs(
        "ledger_checkpoint", "UPDATE ledger_checkpoint SET root = sha256('x'::bytea) WHERE size = 3"
    )
    page = shown(people.ben, PAGE)
    assert page.count("does not verify</span>") == 1
    answer = shown(people.ben, CONSISTENCY, log=log.slug, old=1, new=3)
    assert "Not consistent: the checkpoints over 1 and 3 entries" in answer


def test_without_a_key_no_signature_is_called_verified(
    log: Log, people: People, settings: Any, tmp_path: Path
) -> None:
    settings.ECP_LOG_PUBLIC_KEYS = tmp_path / "none.json"
    page = shown(people.ben, PAGE)
    assert page.count("no key configured</span>") == 3
    assert "Not consistent" in shown(people.ben, CONSISTENCY, log=log.slug, old=1, new=3)


def test_two_checkpoints_are_consistent_with_their_proof(log: Log, people: People) -> None:
    page = shown(people.ben, CONSISTENCY, log=log.slug, old=3, new=5)
    assert "Consistent: from 3 to 5 entries the log only grew." in page
    assert len(re.findall(r'<li class="hash">[0-9a-f]{64}</li>', page)) == 4
    page = shown(people.ben, CONSISTENCY, log=log.slug, old=5, new=5)
    assert "Consistent: from 5 to 5" in page
    assert "No hash is needed" in page


def test_entry_that_was_swapped_afterwards_is_inconsistent(
    log: Log, people: People, superuser_runs: SuperuserRuns
) -> None:
    swap = "UPDATE ledger_entry SET leaf_hash = sha256(leaf_hash) WHERE seq = 2"
    superuser_runs("ledger_entry", f"ALTER TABLE ledger_entry DROP CONSTRAINT entry_leaf_hash; {swap}")
    try:
        assert "Not consistent" in shown(people.ben, CONSISTENCY, log=log.slug, old=3, new=5)
    finally:
        superuser_runs(
            "ledger_entry",
            "UPDATE ledger_entry SET leaf_hash = sha256('\\x00'::bytea || entry) WHERE seq = 2; "
            "ALTER TABLE ledger_entry ADD CONSTRAINT entry_leaf_hash "
            "CHECK (leaf_hash = sha256('\\x00'::bytea || entry))",
        )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("2", "5", "there is no checkpoint over 2 entries"),
        ("3", "9", "there is no checkpoint over 9 entries"),
        ("5", "3", "the older size must be"),
        ("0", "5", "the older size must be"),
        ("", "5", "give both sizes as plain numbers"),
        ("x", "5", "give both sizes as plain numbers"),
        ("²", "5", "give both sizes as plain numbers"),
        ("9" * 30, "5", "give both sizes as plain numbers"),
    ],
)
def test_sizes_without_a_checkpoint_are_told_in_the_form(
    log: Log, people: People, old: str, new: str, says: str
) -> None:
    answer = signed_in(people.ben).get(CONSISTENCY, {"log": log.slug, "old": old, "new": new})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert says in page
    assert "<code>bad_value</code>" in page
    assert f'value="{new}"' in page


def test_form_alone_asks_nothing(log: Log, people: People) -> None:
    page = shown(people.ben, CONSISTENCY, log=log.slug)
    assert "onsistent:" not in page
    assert 'name="old"' in page


def test_sealed_and_erased_values_are_counted(people: People, checkpointer: Checkpointer) -> None:
    record(people.log, decision(context={"customer": "Erika", "phone": "0123"}, data_subject="customer-7"))
    assert "2 sealed" in shown(people.ben, PAGE)
    erase_subject(
        log=people.log,
        handle="customer-7",
        basis="data_subject_request",
        actor="system:shell",
        now=utc_now(),
    )
    checkpointer.turn()
    while project_search(log_id=people.log.id):
        pass
    page = shown(people.ben, PAGE)
    assert "0 sealed" in page
    assert "2 erased" in page


def test_commands_work_without_the_console(log: Log, people: People) -> None:
    page = shown(people.ben, PAGE)
    assert f"manage.py ledger_verify --log {log.slug} --full" in page
    assert f"/log/{log.slug} --vkey log.vkey" in page
    assert "echo &#x27;" not in page


def test_the_page_of_ledgers_is_gone(people: People) -> None:
    assert signed_in(people.ada).get("/console/ledger/log/").status_code == 404


def test_an_empty_log_says_so(people: People) -> None:
    page = shown(people.ben, PAGE)
    assert "no checkpoint yet" in page
    assert "The log has never stood still" in page
    assert "Nobody else has cosigned" in page


def test_queries_do_not_grow_with_the_log(people: People, checkpointer: Checkpointer) -> None:
    browser = signed_in(people.ben)

    def asked() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(PAGE).status_code == 200
        return [row["sql"] for row in captured.captured_queries]

    def grow(turns: int) -> list[str]:
        for _ in range(turns):
            record(people.log, decision())
            checkpointer.turn()
        return asked()

    few, many = grow(1), grow(30)
    assert len(few) == len(many) <= 20
    on_entries = [sql for sql in many if "ledger_entry" in sql]
    assert not [sql for sql in on_entries if "COUNT(" in sql or "OFFSET" in sql or "DISTINCT" in sql]


def test_flipped_entry_shows_after_the_next_run(log: Log, people: People, flip: Flip) -> None:
    entry = log.entries.get(seq=2)
    flip(entry, bytes(entry.entry).index(b"lamp"))
    verified(log)
    assert "first at position 2" in verdict(shown(people.ben, PAGE))
