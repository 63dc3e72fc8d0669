"""One installation for all kill tests: what one fault leaves behind is the next one's starting point."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.load import Load
from tests.faults.processes import PROC
from tests.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Limits would answer 429 long before anything is under load.
NO_LIMITS = {f"ECP_RATE_{scope}": "100000/s" for scope in ("APPEND", "APPEND_BATCH", "READ", "STATIC")}


def key_of(installation: Installation) -> str:
    demo = json.loads((installation.home / "state" / "demo.json").read_text(encoding="utf-8"))
    return str(demo["api_key"])


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    if not (PROC / "self" / "stat").exists():
        pytest.skip("the kill tests find their victims in /proc, which this system has not")
    home = tmp_path_factory.mktemp("faults") / "home"
    with Installation(home, **NO_LIMITS) as found:
        found.start()
        yield found
        shutil.copytree(home / "logs", home.parent / "logs")  # the home itself is removed


@pytest.fixture
def loaded(installation: Installation, tmp_path: Path) -> Callable[..., Load]:
    """Load on the installation; arguments are those of `Load`."""
    return partial(Load, installation.port, key_of(installation), tmp_path / "journal")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 1)
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return dict(value) if isinstance(value, Counter) else value


@pytest.fixture
def tell(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Print the figures of a test; they are what the suite is run for, besides its verdict."""

    def printed(**figures: Any) -> None:
        with capsys.disabled():
            print(f"\n  {request.node.name}")  # noqa: T201 - the report
            for name, value in figures.items():
                print(f"    {name.replace('_', ' ')}: {_rounded(value)}")  # noqa: T201 - the report

    return printed
