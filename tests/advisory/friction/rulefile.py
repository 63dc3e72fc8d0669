"""A small rule file for tests, and the same with other rules, fields or head."""

from __future__ import annotations

from datetime import UTC, datetime

from advisory.friction import FrictionCalculator
from advisory.friction.core.rules import RuleSetInvalid

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

HEAD = """\
schema: ecp.friction/1
id: tiny
version: 1
title: Tiny
description: For tests
mode: draft
effective_from: "2026-01-01T00:00:00Z"
timezone: UTC
advisory: true
"""
FIELDS = """\
fields:
  n: {type: integer, min: 0, max: 100}
  m: {type: integer}
  d: {type: number}
  s: {type: string, values: [a, b]}
  t: {type: string}
  b: {type: boolean}
  l: {type: list}
  w: {type: timestamp}
"""
SCALE = """\
scoring: {method: sum, cap: 100, bands: {low: 0, medium: 30, high: 60}}
levels: {low: {steps: []}, medium: {steps: []}, high: {steps: []}}
"""


def rule(
    when: str = "{field: n, op: gte, value: 5}", *, name: str = "AA-100", points: int = 10, more: str = ""
) -> str:
    text = (
        f'  - id: {name}\n    title: T\n    reason: "n is {{n}}."\n    when: {when}\n    points: {points}\n'
    )
    return text + "".join(f"    {line}\n" for line in more.splitlines())


def rulefile(*rules: str, head: str = HEAD, fields: str = FIELDS, scale: str = SCALE) -> str:
    listed = "rules:\n" + "".join(rules) if rules else "rules: []\n"
    return head + fields + scale + listed


def calculator(*rules: str, **parts: str) -> FrictionCalculator:
    return FrictionCalculator.load(rulefile(*rules, **parts))


def refusal(text: str | bytes) -> list[tuple[str, int, str | None]]:
    """Code, line and rule of each problem of a file that does not load."""
    try:
        FrictionCalculator.load(text)
    except RuleSetInvalid as error:
        return [(problem.code, problem.line, problem.rule) for problem in error.problems]
    raise AssertionError("the file loads")


def line_of(text: str, piece: str) -> int:
    """Number of the one line that holds `piece`."""
    [number] = [number for number, line in enumerate(text.splitlines(), start=1) if piece in line]
    return number
