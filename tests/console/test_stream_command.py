"""`console_stream` as an operator starts and ends it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from ecp_project.console.management.commands.console_stream import bound
from tests.console.desk import signed_in
from tests.console.live import Told
from tests.installation import PROJECT, free_port, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.people import People


@pytest.mark.unit
def test_process_that_is_given_the_signing_key_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECP_SIGNING_KEY_FILE", "ledger.key")
    with pytest.raises(CommandError, match="ECP_SIGNING_KEY_FILE"):
        call_command("console_stream")


@pytest.mark.unit
def test_address_is_bound_or_taken_over_and_a_wrong_one_is_named() -> None:
    with bound("127.0.0.1:0") as own:
        assert own.getsockname()[0] == "127.0.0.1"
        with bound(f"fd://{os.dup(own.fileno())}") as same:
            assert same.getsockname() == own.getsockname()
        for wrong in (f"127.0.0.1:{own.getsockname()[1]}", "fd://x", "8001x", "127.0.0.1"):
            with pytest.raises(CommandError, match="ECP_STREAM_BIND"):
                bound(wrong)


@pytest.mark.db
@pytest.mark.e2e
def test_sigterm_says_goodbye_and_ends_with_zero(
    people: People, server_environment: Mapping[str, str]
) -> None:
    port = free_port()
    surroundings = os.environ | dict(server_environment) | {
        "ECP_STREAM_BIND": f"127.0.0.1:{port}", "ECP_METRICS_PORT": "0", "ECP_PORT": "8000",
        "DJANGO_SETTINGS_MODULE": "ecp_project.settings.test",
    }  # fmt: skip
    cookie = f"sessionid={signed_in(people.ben).cookies['sessionid'].value}"
    with subprocess.Popen(
        [sys.executable, "manage.py", "console_stream"], cwd=PROJECT, env=surroundings,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        until(lambda: answers(port))
        with Told(f"http://127.0.0.1:{port}", cookie=cookie) as told:
            assert told.until("hello")["log"] == people.log.slug
            process.send_signal(signal.SIGTERM)
            assert told.until("bye") == {"log": people.log.slug}
        assert process.wait(10) == 0


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
