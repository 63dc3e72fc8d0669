"""Metrics of the ledger (OPERATIONS section 8). No label names an agent, a person or a decision."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

ENTRIES = Counter("ecp_ledger_entries_total", "Entries stored", ["log", "kind"])
APPEND_SECONDS = Histogram(
    "ecp_ledger_append_seconds", "From a built statement to its durable entry", ["path"], buckets=SECONDS
)
APPEND_FAILURES = Counter(
    "ecp_ledger_append_failures_total",
    "Statements of appends that were not stored, or perhaps not",
    ["reason"],
)
REPLAYS = Counter("ecp_ledger_idempotent_replays_total", "Appends answered with an older receipt")
SIZE = Gauge("ecp_ledger_size", "Entries in the log", ["log"], multiprocess_mode="mostrecent")
HEAD_LOCK_WAIT = Histogram(
    "ecp_ledger_head_lock_wait_seconds", "Waiting for the sequencer's row", buckets=SECONDS
)
BATCH_ENTRIES = Histogram("ecp_ledger_batch_entries", "Entries in one commit", buckets=(1, 4, 16, 64, 256))
MODE = Gauge(
    "ecp_ledger_mode",
    "1 for the mode that a process works in; the checkpointer tells that of the logs",
    ["mode"],
    multiprocess_mode="livemax",
)
OUTSTANDING = Gauge("ecp_ledger_outstanding", "Appends waiting in the processes", multiprocess_mode="livesum")
CLOCK_SKEW = Gauge(
    "ecp_ledger_clock_skew_seconds", "Own clock against the database's", multiprocess_mode="livemax"
)
CHECKPOINT_SIZE = Gauge(
    "ecp_ledger_checkpoint_size",
    "Entries under the newest checkpoint",
    ["log"],
    multiprocess_mode="mostrecent",
)
CHECKPOINT_SUCCESS = Gauge(
    "ecp_ledger_checkpoint_last_success_timestamp_seconds",
    "When the newest checkpoint was signed",
    ["log"],
    multiprocess_mode="mostrecent",
)
PUBLISH_FAILURES = Counter(
    "ecp_ledger_checkpoint_publish_failures_total", "Checkpoints that a sink did not take", ["sink"]
)
READBACK_MISMATCH = Counter("ecp_ledger_readback_mismatch_total", "Stored bytes that were not signed")
VERIFY_SUCCESS = Gauge(
    "ecp_ledger_verify_last_success_timestamp_seconds",
    "End of the oldest of the newest verifications of all logs, while all are sound",
    multiprocess_mode="mostrecent",
)
VERIFY_BROKEN = Gauge(
    "ecp_ledger_verify_broken_entries",
    "Findings of the newest verification of each log",
    multiprocess_mode="mostrecent",
)
VERIFY_FIRST_BAD = Gauge(
    "ecp_ledger_verify_first_bad_seq",
    "Least position with a finding; -1 when there is none",
    multiprocess_mode="mostrecent",
)
VERIFIED_SIZE = Gauge(
    "ecp_ledger_verified_size",
    "Entries that the newest sound verifications cover",
    multiprocess_mode="mostrecent",
)
DB_AUDIT_VIOLATIONS = Gauge(
    "ecp_ledger_db_audit_violations",
    "Differences between the database's catalogue and the expected one",
    multiprocess_mode="mostrecent",
)


def show_mode(*, is_halted: bool) -> None:
    MODE.labels(mode="active").set(not is_halted)
    MODE.labels(mode="halt").set(is_halted)
