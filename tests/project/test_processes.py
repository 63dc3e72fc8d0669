"""Celery, beat, gunicorn and the metrics port: what they are told, and that they hear it."""

from __future__ import annotations

import importlib
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from prometheus_client import REGISTRY

from ecp_project import beat, celery, env, gunicorn_conf
from ecp_project.observability import metrics
from ecp_project.redis import plain_url
from ledger.sequencer import connect

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.unit
def test_celery_loses_no_task_and_takes_json_alone() -> None:
    conf = celery.app.conf
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost, conf.worker_prefetch_multiplier) == (
        True,
        True,
        1,
    )
    assert conf.accept_content == ["json"]
    assert conf.task_ignore_result
    assert conf.worker_soft_shutdown_timeout == 60
    assert conf.broker_transport_options == {
        "visibility_timeout": 120, "unacked_restore_interval": 5, "unacked_restore_throttle": 1,
    }  # fmt: skip


@pytest.mark.unit
def test_every_periodic_task_exists() -> None:
    celery.app.loader.import_default_modules()
    planned = {entry["task"] for entry in celery.app.conf.beat_schedule.values()}
    assert planned <= set(celery.app.tasks)
    assert "ops.canary" in planned


@pytest.mark.unit
def test_canary_leaves_a_timestamp_and_a_heartbeat(settings: Any, tmp_path: Path) -> None:
    settings.ECP_STATE_DIR = tmp_path / "state"
    celery.canary()
    assert time.time() - celery.heartbeat_file("worker").stat().st_mtime < 5
    stamp = REGISTRY.get_sample_value("ecp_celery_canary_last_success_timestamp_seconds")
    assert stamp is not None
    assert time.time() - stamp < 5


@pytest.mark.db
def test_second_beat_waits_until_the_first_is_gone(database_name: str, django_db_blocker: Any) -> None:
    del database_name
    waits: list[float] = []
    first = connect("direct")
    row = first.execute("SELECT pg_try_advisory_lock(%s)", [beat.LOCK]).fetchone()
    assert row == (True,)  # never waits for it: nobody else works in this database

    def pause(seconds: float) -> None:
        waits.append(seconds)
        assert len(waits) < 100, "the lock of a beat that has gone was never given"
        first.close()
        time.sleep(0.02)  # the server ends the session in its own time

    with django_db_blocker.unblock():
        try:
            assert not beat.try_lock()
            beat.wait_for_lock(pause=pause)
            assert waits
            assert beat.still_locked()
            connections["direct"].close()
            assert not beat.still_locked()
        finally:
            first.close()
            connections["direct"].close()


@pytest.mark.unit
def test_web_process_that_is_given_the_signing_key_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECP_SIGNING_KEY_FILE", "/run/secrets/ledger.key")
    with pytest.raises(env.EnvError, match="ECP_SIGNING_KEY_FILE"):
        importlib.reload(gunicorn_conf)
    monkeypatch.delenv("ECP_SIGNING_KEY_FILE")
    monkeypatch.setenv("ECP_WEB_PROCESSES", "3")
    importlib.reload(gunicorn_conf)
    assert gunicorn_conf.worker_class == "ecp_project.even_worker.EvenWorker"
    assert (gunicorn_conf.workers, gunicorn_conf.timeout) == (3, 30)
    monkeypatch.undo()
    importlib.reload(gunicorn_conf)


@pytest.mark.unit
def test_metrics_are_shown_on_their_own_port() -> None:
    metrics.process_started("abc123")
    server, thread = metrics.started(port=0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert 'ecp_build_info{commit="abc123"' in text
    assert "ecp_auth_failures_total" in text


@pytest.mark.unit
def test_taken_metrics_port_is_logged_and_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    server, thread = metrics.started(port=0)
    try:
        metrics.serve(server.server_port, "127.0.0.1")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert "metrics_port_taken" in capsys.readouterr().err
    metrics.serve(0, "127.0.0.1")


@pytest.mark.unit
def test_folder_of_a_former_run_is_emptied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"old")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    metrics.empty_folder()
    assert list(folder.iterdir()) == []
    assert metrics.registry().get_sample_value("ecp_build_info") is None  # nobody has written there yet
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    metrics.empty_folder()
    assert folder.is_dir()


@pytest.mark.unit
@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("rediss://h/1", "rediss://h/1"),
        ("redis+socket:///run/v.sock", "unix:///run/v.sock"),
        ("redis+socket:///run/v.sock?virtual_host=2", "unix:///run/v.sock?db=2"),
    ],
)
def test_celery_s_form_of_a_socket_is_read_by_the_client_library(given: str, plain: str) -> None:
    assert plain_url(given) == plain
