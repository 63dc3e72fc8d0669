"""The client carries a copy of the core, equal but for its imports, and needs nothing else of ECP."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.unit
CLIENT = Path(__file__).resolve().parents[2] / "clients" / "python"
NEEDED = {"httpx", "cryptography"}
CLOSED = "django rest_framework ledger ecp_project orjson rfc8785"


@pytest.fixture(scope="module")
def copy_core() -> Any:
    spec = importlib.util.spec_from_file_location("copy_core", CLIENT / "copy_core.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_copy_is_what_would_be_written(copy_core: Any) -> None:
    assert copy_core.differences() == [], "run: make client-core"


def test_a_changed_missing_or_foreign_file_is_reported(copy_core: Any, tmp_path: Path) -> None:
    copy_core.write(tmp_path)
    assert copy_core.differences(tmp_path) == []
    (tmp_path / "kernel" / "ids.py").write_text("changed")
    (tmp_path / "ledger" / "note.py").unlink()
    (tmp_path / "ledger" / "foreign.py").write_text("")
    assert copy_core.differences(tmp_path) == ["kernel/ids.py", "ledger/foreign.py", "ledger/note.py"]
    copy_core.write(tmp_path)
    assert copy_core.differences(tmp_path) == []


def test_no_import_leads_out_of_the_copy(copy_core: Any) -> None:
    for path, text in copy_core.wanted().items():
        assert "from ecp_project" not in text, path
        assert "from ledger" not in text, path


def test_check_ends_with_0_where_nothing_differs() -> None:
    done = subprocess.run([sys.executable, CLIENT / "copy_core.py", "--check"], check=False)  # noqa: S603 - ours
    assert done.returncode == 0


PROBE = """
import sys
sys.path.insert(0, sys.argv[1])

class Closed:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[3].split():
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Closed())
import ecp_client, ecp_client.command
print(ecp_client.verify_receipt({"v": "ecp.receipt/1"}, b"{}", sys.argv[2]).kinds)
"""


def test_the_package_works_where_only_httpx_and_cryptography_are() -> None:
    vkey = "ecp.example/log/acme+3076fd61+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", PROBE, CLIENT / "src", vkey, CLOSED],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "['entry_syntax']", done.stderr


def test_the_wheel_holds_package_copy_and_types(tmp_path: Path) -> None:
    try:
        has_builder = importlib.util.find_spec("setuptools.command.bdist_wheel") is not None
    except ModuleNotFoundError:
        has_builder = False
    if not has_builder:
        pytest.skip("no setuptools here that makes wheels, and a test fetches nothing")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        (source / name).write_bytes((CLIENT / name).read_bytes())
    (source / "src").symlink_to(CLIENT / "src")
    done = subprocess.run(  # noqa: S603 - fixed
        [*command, "--wheel-dir", tmp_path, source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("ecp_client-*.whl")
    with zipfile.ZipFile(wheel) as package:
        names = set(package.namelist())
        metadata = next(name for name in names if name.endswith("/METADATA"))
        requires = [line.split()[1] for line in package.read(metadata).decode().splitlines()
                    if line.startswith("Requires-Dist: ")]  # fmt: skip
        entry_points = package.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    modules = {f"ecp_client/{path.relative_to(CLIENT / 'src' / 'ecp_client')}"
               for path in (CLIENT / "src" / "ecp_client").rglob("*.py")}  # fmt: skip
    assert modules | {"ecp_client/py.typed"} <= names
    assert {name.partition("<")[0].partition(">")[0] for name in requires} == NEEDED
    assert "ecp = ecp_client.command:main" in entry_points
