"""What the commands share: a rule file from its path, and its problems as lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from django.core.management.base import CommandError

from advisory.friction.core.calculator import FrictionCalculator
from advisory.friction.core.rules import RuleSetInvalid

if TYPE_CHECKING:
    from advisory.friction.core.document import RuleProblem

USAGE = 2


def read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", returncode=USAGE) from error


def line_of(path: str, problem: RuleProblem) -> str:
    where = f" ({problem.rule})" if problem.rule else ""
    return f"{path}:{problem.line}: {problem.code} {problem.message}{where}"


def calculator(path: str) -> FrictionCalculator:
    """The rules of a file; a command that needs them ends with 2 when the file is none."""
    try:
        return FrictionCalculator.load(read(path))
    except RuleSetInvalid as invalid:
        lines = "\n".join(line_of(path, problem) for problem in invalid.problems)
        raise CommandError(lines, returncode=USAGE) from None
