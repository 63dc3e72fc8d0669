"""What the code keeps as registers and constants the documents list: codes, scopes, kinds, tasks, limits."""

from __future__ import annotations

import re

import pytest

from ecp_project.api import pagination, parsers
from ecp_project.api.permissions import SCOPES
from ecp_project.celery import app
from ecp_project.kernel import canonical
from ecp_project.kernel.errors import PROBLEMS
from ledger import sequencer
from ledger.api import logs
from ledger.core import decision, entry
from ledger.core.statement import LEDGER_STATEMENTS, kind_of
from tests.docs.documents import OURS, PROJECT, every_text, read, section, table

pytestmark = pytest.mark.unit


def test_api_md_lists_every_problem_code_as_the_register_has_it() -> None:
    rows = {row[0]: row[1:] for row in table(section(read("docs/API.md"), "Problems"), "code")}
    register = {
        code: [", ".join(map(str, problem.statuses)), problem.title, problem.advice]
        for code, problem in PROBLEMS.items()
    }
    assert rows == register


def test_codes_named_beside_a_status_are_registered() -> None:
    for name, text in every_text():
        for status, code in re.findall(r"\b([45][0-9]{2}) `([a-z_]+)`", text):
            assert code in PROBLEMS, (name, code)
            assert int(status) in PROBLEMS[code].statuses, (name, code, status)
        for code in re.findall(r"urn:ecp:problem:([a-z_]+)", text):
            assert code in PROBLEMS, (name, code)


def test_scopes_in_api_md_are_those_of_the_code() -> None:
    text = section(read("docs/API.md"), "Who calls")
    named = {row[0] for row in table(text, "scope")}
    further = re.search(r"Further scopes \((.*?)\)", text, re.DOTALL)
    assert further is not None
    patterns = re.findall(r"`([a-z:*]+)`", further[1])
    rest = {scope for scope in SCOPES if any(re.fullmatch(p.replace("*", ".+"), scope) for p in patterns)}
    assert named.isdisjoint(rest)
    assert named | rest == set(SCOPES)


def test_api_md_lists_every_kind_of_statement_and_who_may_sign_it() -> None:
    rows = {row[0]: bool(row[1]) for row in table(read("docs/API.md"), "kind")}
    assert rows == {v: kind_of(v).is_signable for v in LEDGER_STATEMENTS}


def test_architecture_md_lists_every_task() -> None:
    app.loader.import_default_modules()
    tasks = {name for name in app.tasks if not name.startswith("celery.")}
    assert {row[0] for row in table(read("docs/ARCHITECTURE.md"), "task")} == tasks
    # a delivery is asked for by the sweep that beat wakes
    asked = {"polls.deliver", "friction.notice_deliver"}
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} | asked == tasks


@pytest.mark.parametrize(
    ("what", "limits"),
    [
        ("one document", (f"{parsers.MAX_DOCUMENT >> 10} KiB",)),
        ("one document", (f"{canonical.MAX_SEPARATORS:,} `:`", f"depth {canonical.MAX_DEPTH}")),
        (
            "a statement; an entry",
            (f"{canonical.MAX_STATEMENT_BYTES:,} bytes", f"{entry.MAX_ENTRY_BYTES:,} bytes"),
        ),
        ("`context` and `explanation_detail` together", (f"{decision.MAX_PRIVATE_BYTES >> 10} KiB",)),
        ("batch", (f"{parsers.MAX_LINES:,} lines", f"{parsers.MAX_BATCH >> 20} MiB")),
        ("request target", (f"{pagination.MAX_TARGET >> 10} KiB",)),
        ("page", (f"{pagination.MAX_SIZE} decisions", f"{logs.MAX_RANGE:,} entries")),
        ("appends that wait in one process", (f"{sequencer.MAX_OUTSTANDING:,}",)),
        ("wait for a commit", (f"{sequencer.WAIT_S:.0f} s",)),
    ],
)
def test_limits_in_api_md_are_those_of_the_code(what: str, limits: tuple[str, ...]) -> None:
    rows = {row[0]: row[1] for row in table(read("docs/API.md"), "what")}
    cell = rows.get(what) or rows[what.strip("`")]
    assert all(limit in cell for limit in limits), cell


def test_deployment_md_lists_every_system_check() -> None:
    files = [file for name in OURS for file in (PROJECT / name).rglob("*.py")]
    ids = {found for file in files for found in re.findall(r'id="(ecp\.[EW]\d+)"', file.read_text("utf-8"))}
    assert {row[0] for row in table(read("docs/DEPLOYMENT.md"), "id")} == ids
