"""docs/MONITORING.md names what the code shows: metrics, labels, probes and log events, both ways."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from ecp_project.observability import health
from ecp_project.observability.queues import QueueDepth
from ecp_project.observability.requests import RequestMetrics
from tests.docs.documents import PROJECT, read, section, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.unit
DOCUMENT = "docs/MONITORING.md"
# Declared by a library on import and never set: no sample of theirs is ever shown.
UNUSED = "django_model_"
LEVELS = {"debug", "info", "warning", "error", "critical"}
FUNCTIONS = {
    "time",
    "on",
    "by",
    "sum",
    "max",
    "rate",
    "increase",
    "histogram_quantile",
    "absent",
    "and",
    "or",
}
METRIC = re.compile(r"\b(?:ecp|django)_[a-z_]+\b")


@cache
def declared() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Type and labels of every metric, by the name that a scrape shows."""
    for file in sorted(PROJECT.glob("*/**/metrics.py")):
        if file.relative_to(PROJECT).parts[0] in {"ecp_project", "ledger", "advisory"}:
            import_module(".".join(file.relative_to(PROJECT).with_suffix("").parts))
    RequestMetrics.get_instance()
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for metric in REGISTRY._collector_to_names:
        if isinstance(metric, MetricWrapperBase) and not metric._name.startswith(UNUSED):
            name = f"{metric._name}_total" if metric._type == "counter" else metric._name
            found[name] = (str(metric._type), tuple(metric._labelnames))
    for family in QueueDepth().describe():
        found[family.name] = (family.type, tuple(family._labelnames))
    # the library's name ends so already, and a scrape shows it with one more "_total"
    short = "django_http_responses_total_by_status_view_method"
    found[short] = found.pop(f"{short}_total")
    return found


def test_every_metric_is_described_with_its_type_and_labels() -> None:
    rows = table(section(read(DOCUMENT), "Metrics"), "metric")
    told = {name: (kind, tuple(re.findall(r"`(\w+)`", f"`{labels}`"))) for name, kind, labels, _, _ in rows}
    told = {name: (kind, tuple(label for label in labels if label)) for name, (kind, labels) in told.items()}
    assert told == declared()


def test_no_label_can_name_an_agent_a_person_or_a_decision() -> None:
    allowed = {
        "log", "kind", "path", "reason", "mode", "sink", "method", "role", "scope", "queue", "version",
        "commit", "view", "status", "panel", "level", "reason_code", "rule", "via",
        "outcome", "state", "result",
    }  # fmt: skip
    assert {label for _, labels in declared().values() for label in labels} <= allowed


def test_alerts_speak_of_metrics_and_labels_that_exist() -> None:
    rows = table(section(read(DOCUMENT), "Alerts"), "alert")
    assert len({row[0] for row in rows}) == len(rows) > 10
    for name, severity, expression, *_ in rows:
        assert severity in {"page", "ticket"}, name
        metrics = {re.sub(r"_(bucket|count|sum)$", "", found) for found in METRIC.findall(expression)}
        assert metrics <= set(declared()), name
        assert metrics or expression == "up == 0", name
        labels = {label for metric in metrics for label in declared()[metric][1]} | {"le"}
        for group in re.findall(r"(?:by|on) ?\(([a-z, ]+)\)", expression):
            assert set(group.split(", ")) <= labels, name
        assert set(re.findall(r"[{,](\w+)=", expression)) <= labels, name
        words = set(re.findall(r"[a-z_]+(?= ?\()", expression))
        assert words <= FUNCTIONS, name


def test_counters_are_never_read_without_a_rate() -> None:
    for name, _, expression, *_ in table(section(read(DOCUMENT), "Alerts"), "alert"):
        for metric in METRIC.findall(expression):
            if metric.endswith(("_total", "_bucket")):
                assert re.search(rf"(rate|increase)\({metric}[{{\[]", expression), name


def test_every_check_of_readyz_is_described() -> None:
    rows = table(section(read(DOCUMENT), "Probes"), "check")
    assert {row[0] for row in rows} == set(health._ready)


# --- log events


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for package in ("ecp_project", "ledger", "advisory"):
        for file in sorted((PROJECT / package).glob("**/*.py")):
            yield file, ast.parse(file.read_text(encoding="utf-8"))


def constants(file: Path, tree: ast.Module) -> dict[str, str]:
    """Texts that the names of a module stand for, those it imports included."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            text = str(node.value.value)
            found |= {target.id: text for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ecp_project":
            other = PROJECT / (node.module.replace(".", "/") + ".py")
            if other != file and other.exists():
                theirs = constants(other, ast.parse(other.read_text(encoding="utf-8")))
                found |= {alias.name: theirs[alias.name] for alias in node.names if alias.name in theirs}
    return found


@cache
def events() -> dict[str, set[str]]:
    """Levels of every event that our own code logs."""
    found: dict[str, set[str]] = {}
    for file, tree in sources():
        names = constants(file, tree)
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr not in LEVELS or getattr(node.func.value, "id", "") not in {
                "_log",
                "log",
                "logger",
            }:
                continue
            event = node.args[0]
            assert isinstance(event, ast.Name), f"{file.name}:{node.lineno}: the event's name is no constant"
            found.setdefault(names[event.id], set()).add(node.func.attr)
    return found | {"library_message": {"any"}}


def test_every_event_is_described_at_its_level() -> None:
    rows = table(section(read(DOCUMENT), "Log events"), "event")
    assert {name: {level} for name, level, _ in rows} == events()


def test_event_names_read_as_one_word() -> None:
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in events())
