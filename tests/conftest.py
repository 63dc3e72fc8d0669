"""Fixtures and habits of every test: own database for each worker, no address but this machine's."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import databases, sockets
from tests.shared import shared_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_django import DjangoDbBlocker

pytest_plugins = ["tests.running_ledger", "tests.served", "tests.tampering", "tests.console.live"]

# A property does not depend on how fast the machine is at the moment.
settings.register_profile("ecp", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ecp")

# Run only when asked for by -m: `make bench`, `make faults`, `make interop` and so on.
ON_REQUEST = {"perf", "fault", "interop", "sweep", "pictures"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr:
        return
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in ON_REQUEST)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    # What takes seconds comes first, so that no worker is left with it when the others have ended.
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)


def pytest_collection_finish() -> None:
    """The modules and tests that are loaded now stay for good; looking through them again finds nothing."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _closed_sockets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        sockets.close_to_the_world(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_outlasts_a_power_cut() -> Iterator[None]:
    """Files of this process wait for no disk, like the databases; `make faults` kills processes that do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def cluster() -> databases.Cluster:
    return databases.cluster()


@pytest.fixture(scope="session")
def database_name(
    request: pytest.FixtureRequest,
    cluster: databases.Cluster,
    django_test_environment: None,  # noqa: ARG001 - Django's test environment comes first
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[str]:
    """Name of this worker's database; every alias of Django points at it."""
    worker = getattr(request.config, "workerinput", {"workerid": "main"})["workerid"]
    with django_db_blocker.unblock(), databases.worker_database(cluster, worker) as name:
        yield name


@pytest.fixture(scope="session")
def django_db_setup(database_name: str) -> None:
    """Replace pytest-django's own set-up, which would create its databases as the application's role."""
    assert database_name.startswith("test_")


@pytest.fixture
def committed_db(
    cluster: databases.Cluster, database_name: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """Database with committed rows, for tests that go through the batcher, the checkpointer or processes.

    Afterwards every table is emptied by the one path that may lift the append-only triggers. Yields the name.
    """
    with django_db_blocker.unblock():
        try:
            yield database_name
        finally:
            databases.let_rest()
            databases.remove_committed_rows(cluster, database_name)


@pytest.fixture
def server_environment(cluster: databases.Cluster, database_name: str, tmp_path: Path) -> dict[str, str]:
    """Environment of a child process that works in this worker's database, with a home of its own."""
    return cluster.surroundings(database_name) | {"ECP_HOME": str(tmp_path / "home")}


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the shared vectors and data; tests are skipped where it is absent."""
    folder = shared_folder()
    if not folder.is_dir():
        pytest.skip("the shared folder is not at hand: set ECP_SHARED")
    return folder
