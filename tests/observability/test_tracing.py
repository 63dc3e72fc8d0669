"""One request can be followed through log lines, tasks and calls elsewhere (OPERATIONS section 9)."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery.contrib.testing.worker import start_worker
from hypothesis import given
from hypothesis import strategies as st
from structlog.contextvars import bound_contextvars, get_contextvars

from ecp_project import celery
from ecp_project.api import outbound
from ecp_project.kernel.tracing import context_of, headers_of, trace_id_of, traceparent

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-00", TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-00f067aa0ba902b7-01\n", None),
        ("", None),
    ],
)
def test_only_a_traceparent_of_the_standard_s_form_is_read(header: str, found: str | None) -> None:
    assert trace_id_of(header) == found


@pytest.mark.unit
@given(trace=st.binary(min_size=16, max_size=16).filter(any))
def test_what_we_send_on_is_read_as_the_same_trace_with_another_span(trace: bytes) -> None:
    sent = traceparent(trace.hex())
    assert trace_id_of(sent) == trace.hex()
    assert sent != traceparent(trace.hex())


@pytest.mark.unit
def test_context_survives_the_headers_and_rubbish_does_not() -> None:
    context = {"request_id": "abcd1234", "trace_id": TRACE}
    assert context_of(headers_of(context | {"route": "x"})) == context
    assert headers_of({}) == {}
    assert context_of({"X-Request-ID": "a\nb", "traceparent": 5, "other": "abcd1234"}) == {}


@pytest.fixture
def seen() -> Iterator[list[dict[str, Any]]]:
    """A worker with one task that notes the log context in which it ran."""
    found: list[dict[str, Any]] = []
    broker = celery.app.conf.broker_url

    @celery.app.task(name="tests.note_context")
    def note_context() -> None:
        found.append(get_contextvars())

    celery.app.conf.update(broker_url="memory://")
    try:
        with start_worker(celery.app, perform_ping_check=False, loglevel="ERROR"):
            yield found
    finally:
        celery.app.conf.update(broker_url=broker)
        del celery.app.tasks["tests.note_context"]


@pytest.mark.unit
def test_task_knows_the_request_that_asked_for_it(seen: list[dict[str, Any]]) -> None:
    task = celery.app.tasks["tests.note_context"]
    with bound_contextvars(request_id="abcd1234", trace_id=TRACE):
        task.delay()
    alone = task.apply_async()
    for _ in range(200):
        if len(seen) == 2:
            break
        threading.Event().wait(0.05)
    first, second = seen
    assert first == {"request_id": "abcd1234", "trace_id": TRACE, "task": "tests.note_context"}
    assert second == {"request_id": alone.id, "task": "tests.note_context"}


class _Peer(http.server.BaseHTTPRequestHandler):
    headers_seen: dict[str, str]

    def do_GET(self) -> None:
        type(self).headers_seen = dict(self.headers)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.mark.unit
def test_call_elsewhere_names_the_request_and_the_trace(settings: Any) -> None:
    peer = http.server.HTTPServer(("127.0.0.1", 0), _Peer)
    thread = threading.Thread(target=peer.serve_forever, daemon=True)
    thread.start()
    settings.ECP_AGENT_ALLOWED_PORTS = (peer.server_port,)
    try:
        with bound_contextvars(request_id="abcd1234", trace_id=TRACE), outbound.client() as client:
            assert client.get(f"http://127.0.0.1:{peer.server_port}/").json() == json.loads("{}")
    finally:
        peer.shutdown()
        peer.server_close()
        thread.join()
    assert _Peer.headers_seen["X-Request-ID"] == "abcd1234"
    assert trace_id_of(_Peer.headers_seen["traceparent"]) == TRACE
