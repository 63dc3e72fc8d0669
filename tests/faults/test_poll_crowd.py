"""F5 and the poll half of F6: a real worker and beat ask 200 agents; the worker is killed, Redis emptied."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from advisory.polls import poll_verify, selectors
from advisory.polls.models import Poll, PollInvitation, PollResponse
from ecp_project import redis
from ecp_project.api import delivery
from ecp_project.embedded.binaries import valkey_program
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.signing import b64url
from ledger.keys import verifiers
from ledger.models import Agent, Entry
from tests.advisory.polls.agents import living
from tests.factories.polls import Story, asked_agents
from tests.installation import PROJECT, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ledger.checkpointer import Checkpointer
    from tests.advisory.polls.agents import Town
    from tests.people import People

pytestmark = pytest.mark.fault
CROWD = {"answer": 140, "accept": 20, "decline": 10, "forge": 10, "gone": 10, "flaky": 10}
CELERY = (sys.executable, "-m", "celery", "-A", "ecp_project")
WORKER = (*CELERY, "worker", "-Q", "polls,default", "-c", "2", "--prefetch-multiplier", "1",
          "--without-gossip", "--without-mingle", "--loglevel", "WARNING")  # fmt: skip
DONE_WITHIN = timedelta(seconds=30)


class Broker:
    """A Valkey of this test's own, so that it can be gone for a while."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"redis+socket://{folder / 'broker.sock'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command: list[str | Path] = [
            valkey_program(), "--port", "0", "--unixsocket", self._folder / "broker.sock", "--save", "",
            "--dir", self._folder, "--logfile", self._folder / "broker.log",
        ]  # fmt: skip
        self._process = subprocess.Popen(command)  # noqa: S603 - the program that comes with ECP
        until((self._folder / "broker.sock").exists, 10)

    def kill(self) -> None:
        """Everything that it held is lost: nothing was saved."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
            (self._folder / "broker.sock").unlink(missing_ok=True)


class Machinery:
    """Worker and beat in process groups of their own, so that a kill takes the whole group."""

    def __init__(self, surroundings: dict[str, str], folder: Path) -> None:
        self._surroundings = os.environ | surroundings
        self._log = (folder / "machinery.log").open("ab")
        schedule = str(folder / "beat")
        self._beat = (*CELERY, "beat", "--loglevel", "WARNING", "--pidfile", "", "--schedule", schedule)
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command, cwd=PROJECT, env=self._surroundings, stdout=self._log, stderr=self._log,
            start_new_session=True,
        )  # fmt: skip
        self._running.append(process)
        return process

    def start_all(self) -> subprocess.Popen[bytes]:
        self.start(self._beat)
        return self.start(WORKER)

    def stop(self) -> None:
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        self._log.close()


@pytest.fixture
def town(settings: Any, tmp_path: Path) -> Iterator[Town]:
    settings.ECP_DELIVERY_KEY_FILE = tmp_path / "delivery.key"
    settings.ECP_DELIVERY_PUBLIC_KEYS = tmp_path / "delivery-keys.json"
    delivery.make_key(now=utc_now())
    with living() as found:
        yield found


@pytest.fixture
def broker() -> Iterator[Broker]:
    # A socket's path has little room, and that of a test is long.
    with tempfile.TemporaryDirectory(prefix="ecp-") as folder:
        found = Broker(Path(folder))
        found.start()
        yield found
        found.kill()


@pytest.fixture
def machinery(
    request: pytest.FixtureRequest,
    server_environment: dict[str, str],
    settings: Any,
    town: Town,
    tmp_path: Path,
) -> Iterator[Machinery]:
    """On the broker of the test, where it has one of its own."""
    del town
    own = request.getfixturevalue("broker") if "broker" in request.fixturenames else None
    found = Machinery(
        server_environment
        | {
            "ECP_ENV": "dev",
            "DJANGO_SETTINGS_MODULE": "ecp_project.settings.dev",
            "ECP_KEK": b64url(settings.ECP_KEK),
            "ECP_DELIVERY_KEY_FILE": str(settings.ECP_DELIVERY_KEY_FILE),
            "ECP_METRICS_PORT": "0",
        }
        | ({"REDIS_URL": own.url} if own else {}),
        tmp_path,
    )
    yield found
    found.stop()


def test_f5_f6_killed_worker_and_emptied_redis(  # noqa: PLR0917 - fixtures
    people: People,
    checkpointer: Checkpointer,
    town: Town,
    machinery: Machinery,
    settings: Any,
    tell: Callable[..., None],
) -> None:
    for behaviour, count in CROWD.items():
        agents = asked_agents(people, count, prefix=behaviour)
        for agent in agents:
            agent.endpoint = town.address(behaviour, agent.slug)
        Agent.objects.bulk_update(agents, ["endpoint"])
    # The ledger tolerates a minute of skew, which is what the way to an open poll takes.
    story = Story(people, {"n": 200, "deadline_minutes": 2}, now=utc_now() - timedelta(seconds=47)).opened()
    worker = machinery.start_all()
    until(lambda: len(town.calls) > 50, 60)
    os.killpg(worker.pid, signal.SIGKILL)
    redis.client().flushall()
    killed_after = len(town.calls)
    machinery.start(WORKER)

    assert story.poll.deadline is not None
    while Poll.objects.get(pk=story.id).state == "open":
        assert utc_now() < story.poll.deadline + DONE_WITHIN, Counter(
            PollInvitation.objects.values_list("state", "last_error")
        )
        time.sleep(0.5)
    poll = Poll.objects.get(pk=story.id)
    assert poll.closed_at is not None
    checkpointer.turn()
    result = selectors.results_of(poll)
    states = Counter(PollInvitation.objects.values_list("state", flat=True))
    calls = Counter(slug for slug, _, _ in town.calls if not slug.startswith("flaky"))
    tell(
        calls=len(town.calls), killed_after=killed_after, states=states, silence=result["silence"],
        closed_after_deadline_s=(poll.closed_at - story.poll.deadline).total_seconds(),
        called_twice=sum(number > 1 for number in calls.values()),
    )  # fmt: skip
    assert set(states) <= {"answered", "declined", "silent", "unreachable"}
    assert result["answered"] + sum(result["silence"].values()) == result["drawn"] == 200
    assert result["answered"] == CROWD["answer"] + CROWD["flaky"]
    assert result["silence"]["declined"] == CROWD["decline"]
    assert result["silence"]["invalid"] == CROWD["forge"]
    assert result["silence"]["unreachable"] == CROWD["gone"]
    assert PollResponse.objects.count() == Entry.objects.filter(kind="ecp.poll.response/1").count() == 150
    assert Entry.objects.filter(kind="ecp.poll.closed/1").count() == 1
    for slug, headers, _ in town.calls:
        invitation = PollInvitation.objects.get(agent__slug=slug)
        assert headers["idempotency-key"] == str(invitation.id)
    # A silent agent is reminded twice at most; beyond that only the kill may cost one call more.
    assert all(number <= 2 + 2 * slug.startswith(("accept", "forge")) for slug, number in calls.items())
    vkey = verifiers(settings.ECP_LOG_PUBLIC_KEYS, people.log.origin)[0].vkey
    assert poll_verify.verify(selectors.proof_of(poll), vkey)["result"] == "ok"


GONE_S = 20


def test_f6_stopped_broker(  # noqa: PLR0917 - fixtures
    people: People,
    checkpointer: Checkpointer,
    town: Town,
    broker: Broker,
    machinery: Machinery,
    tell: Callable[..., None],
) -> None:
    """A broker that is gone for twenty seconds in mid-poll costs time and nothing else."""
    del checkpointer
    crowd = {"answer": 60, "accept": 5, "flaky": 15}
    for behaviour, count in crowd.items():
        agents = asked_agents(people, count, prefix=behaviour)
        for agent in agents:
            agent.endpoint = town.address(behaviour, agent.slug)
        Agent.objects.bulk_update(agents, ["endpoint"])
    story = Story(people, {"n": 80, "deadline_minutes": 2}, now=utc_now() - timedelta(seconds=47)).opened()
    machinery.start_all()
    until(lambda: len(town.calls) > 10, 60)
    broker.kill()
    called_before = len(town.calls)
    time.sleep(GONE_S)
    broker.start()

    assert story.poll.deadline is not None
    until(lambda: Poll.objects.get(pk=story.id).state == "closed", 150)
    poll = Poll.objects.get(pk=story.id)
    assert poll.closed_at is not None
    result = selectors.results_of(poll)
    late_s = (poll.closed_at - story.poll.deadline).total_seconds()
    tell(
        called_before=called_before,
        calls=len(town.calls),
        silence=result["silence"],
        closed_after_deadline_s=late_s,
    )
    assert called_before < len(town.calls)
    assert late_s < DONE_WITHIN.total_seconds()
    assert result["answered"] == crowd["answer"] + crowd["flaky"]
    assert result["silence"]["silent"] == crowd["accept"]
    assert PollResponse.objects.count() == Entry.objects.filter(kind="ecp.poll.response/1").count() == 75
    assert Entry.objects.filter(kind="ecp.poll.closed/1").count() == 1
