"""Run the checkpointer: read back what is stored, sign it, keep it outside the database."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.observability import metrics
from ledger.checkpointer import Checkpointer, HighWaterMark, ReadbackMismatch
from ledger.keys import read_signing_key, signer
from ledger.sequencer import connect
from ledger.sinks import sinks_of

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import FrameType

INTERVAL_S = 1.0
RETRY_S = 2.0
ROUND_FAILED = "checkpoint_round_failed"
_log = structlog.get_logger("ecp.checkpointer")


class Command(BaseCommand):
    help = "Sign checkpoints of all logs, once a second while they grow. Needs the signing key."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="do one round and stop")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        key_file = Path(settings.ECP_SIGNING_KEY_FILE)
        seed = read_signing_key(key_file)
        try:
            sinks = list(sinks_of(settings.ECP_CHECKPOINT_SINKS))
        except ValueError as error:
            raise CommandError(str(error)) from error
        checkpointer = Checkpointer(
            connect=lambda: connect("checkpointer"),
            signer=lambda origin: signer(seed, origin),
            sinks=sinks,
            high_water=HighWaterMark(key_file.with_name("high-water.json")),
            clock=utc_now,
        )
        stopped = threading.Event()

        def stop(_number: int, _frame: FrameType | None) -> None:
            stopped.set()

        if not options["once"]:
            metrics.process_started(settings.ECP_COMMIT)
            metrics.serve(
                settings.ECP_METRICS_PORT, settings.ECP_METRICS_ADDRESS, is_alive=checkpointer.is_moving
            )
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)
        try:
            self._loop(checkpointer, stopped, once=options["once"])
        finally:
            checkpointer.stop()

    def _loop(self, checkpointer: Checkpointer, stopped: threading.Event, *, once: bool) -> None:
        while not stopped.is_set():
            pause = INTERVAL_S
            try:
                checkpointer.turn()
            except ReadbackMismatch as error:
                raise CommandError(f"NOT SIGNED, the log is halted: {error}", returncode=1) from error
            except (psycopg.Error, OSError) as error:
                if once:
                    raise CommandError(f"no round was completed: {error}") from error
                _log.warning(ROUND_FAILED, exc_info=error)
                checkpointer.close()
                pause = RETRY_S
            if once:
                return
            stopped.wait(pause)
