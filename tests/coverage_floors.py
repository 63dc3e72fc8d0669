"""Coverage floors: `python tests/coverage_floors.py` after pytest has written `.coverage`."""

from __future__ import annotations

import io
import sys

from coverage import Coverage
from coverage.exceptions import CoverageException

TOTAL = 85.0
FLOORS = {
    "ledger/core/*": 95.0,
    "ledger/services/*": 95.0,
    "advisory/friction/core/*": 95.0,
    "advisory/polls/core/*": 95.0,
}


def measured(coverage: Coverage, include: str | None = None) -> float:
    return coverage.report(include=include, file=io.StringIO())


def main() -> int:
    coverage = Coverage()
    coverage.load()
    failures = []
    for name, floor in {"total": TOTAL, **FLOORS}.items():
        try:
            share = measured(coverage, None if name == "total" else name)
        except CoverageException as error:
            share = 0.0
            sys.stderr.write(f"{name}: {error}\n")
        sys.stdout.write(f"coverage {name:20} {share:6.2f} % (floor {floor:.0f} %)\n")
        if share < floor:
            failures.append(name)
    if failures:
        coverage.report(file=sys.stderr)
        sys.stderr.write(f"Below the floor: {', '.join(failures)}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
