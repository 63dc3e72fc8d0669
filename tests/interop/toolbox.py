"""Foreign verifiers in environments of their own, below `$ECP_HOME/interop`; a lack is a named skip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import PROJECT

FOREIGN = Path(__file__).parent / "foreign"
HOME = Path(os.environ.get("ECP_HOME") or PROJECT / ".ecp").resolve() / "interop"
NEEDED = "import sys; sys.exit(sys.version_info < (3, 12))"


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603 - programs found by name on purpose


def new_python() -> str:
    """Find Python 3.12 or newer: this one, one on the path, or one that pyenv or uv keeps."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    candidates = [
        sys.executable,
        *(found for minor in range(12, 16) if (found := shutil.which(f"python3.{minor}"))),
        *sorted(map(str, pyenv.glob("versions/3.1[2-9]*/bin/python"))),
        *([run(uv, "python", "find", "--no-python-downloads", ">=3.12").stdout.strip()] if uv else []),
    ]
    for candidate in filter(None, candidates):
        if run(candidate, "-c", NEEDED).returncode == 0:
            return candidate
    pytest.skip("no Python 3.12 or newer is installed, which aics-tlog needs")


def python_with_verifiers() -> Path:
    """Interpreter of an environment with aics-tlog and pymerkle, made once."""
    home = HOME / "python"
    python = home / "bin/python"
    requirements = FOREIGN / "requirements.txt"
    stamp = home / "requirements.txt"
    if stamp.exists() and stamp.read_bytes() == requirements.read_bytes():
        return python
    made = run(new_python(), "-m", "venv", "--clear", home)
    if made.returncode:
        pytest.skip(f"no virtual environment can be made: {made.stderr.strip()}")
    installed = run(python, "-m", "pip", "install", "--quiet", "-r", requirements)
    if installed.returncode:
        pytest.skip(f"aics-tlog and pymerkle cannot be installed: {installed.stderr.strip()[-300:]}")
    shutil.copyfile(requirements, stamp)
    return python


def node_program() -> Path:
    """Copy of check_log.mjs beside node_modules with @sigstore/verify and canonicalize, made once."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("Node.js with npm is not installed")
    home = HOME / "node"
    home.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "check_log.mjs"):
        shutil.copyfile(FOREIGN / name, home / name)
    if not (home / "node_modules/canonicalize").exists():
        installed = run("npm", "install", "--no-audit", "--no-fund", cwd=home)
        if installed.returncode:
            pytest.skip(f"@sigstore/verify cannot be installed: {installed.stderr.strip()[-300:]}")
    return home / "check_log.mjs"
