"""The repository itself: small root, no secrets, reasoned dependencies, owners, targets, contracts."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).resolve().parents[2]
ROOT_NAMES = {
    # mandated
    "manage.py", "ecp_project", "ledger", "advisory", "firewall", "consortium", "templates", "tests",
    "docs", "requirements.txt",
    # beside it (house style, section 2)
    "config", "schema", "clients", "deploy", "examples", "requirements", "pyproject.toml", "Makefile",
    "README.md", "CONTRIBUTING.md", "CODEOWNERS", "LICENSE", "CHANGELOG.md", "SECURITY.md", "Dockerfile",
    "docker-compose.yml", ".editorconfig", ".gitignore", ".gitleaks.toml", ".env.example",
    ".pre-commit-config.yaml", ".dockerignore", ".ci", ".github",
}  # fmt: skip
NEVER_TRACKED = (
    ".ecp/*", ".venv/*", "*.env", "*.key", "*.pem", "*.dump", "*.pyc", "*/node_modules/*", ".coverage*",
    "*.sqlite3", "*/__pycache__/*", "staticfiles/*",
)  # fmt: skip


def git(*arguments: str) -> list[str]:
    if not (PROJECT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git checkout")
    command = ["git", "-c", f"safe.directory={PROJECT}", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)  # noqa: S603 - fixed
    return done.stdout.splitlines()


def test_root_holds_only_what_belongs_there() -> None:
    assert {Path(name).parts[0] for name in git("ls-files")} - ROOT_NAMES == set()


def test_no_tracked_file_is_data_a_secret_or_made_by_a_tool() -> None:
    tracked = git("ls-files")
    found = [name for name in tracked for pattern in NEVER_TRACKED if fnmatch.fnmatch(name, pattern)]
    assert found == []


def test_no_tracked_file_holds_a_private_key() -> None:
    header = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|ecp-ledger-signing-key/v1\s+[A-Za-z0-9_-]{43}")
    assert [name for name in git("ls-files") if header.search((PROJECT / name).read_bytes())] == []


# --- dependencies


def direct(file: Path) -> list[tuple[str, str]]:
    """List (requirement, reason) of each line that names a package."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if re.match(r"[A-Za-z]", line)]
    return [(line.partition("#")[0].strip(), line.partition("#")[2].strip()) for line in lines]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[~=<>; ]", name)[0]).lower()


def locked(lock: str) -> dict[str, str]:
    text = (PROJECT / lock).read_text(encoding="utf-8")
    return {normal(name): pin for name, pin in re.findall(r"^([A-Za-z][\w.-]*)==(\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize("file", sorted((PROJECT / "requirements").glob("*.in")), ids=lambda file: file.name)
def test_each_direct_dependency_says_why_and_what_instead(file: Path) -> None:
    assert direct(file)
    assert [name for name, reason in direct(file) if len(reason) < 20 or ";" not in reason] == []


@pytest.mark.parametrize(
    ("lock", "sources"),
    [
        ("requirements.txt", ["base.in", "embedded.in"]),
        ("requirements/dev.txt", ["dev.in"]),
        ("requirements/ops.txt", ["ops.in"]),
        ("requirements/bootstrap.txt", ["bootstrap.in"]),
    ],
)
def test_lock_holds_every_direct_dependency_with_hashes_and_no_address(lock: str, sources: list[str]) -> None:
    text = (PROJECT / lock).read_text(encoding="utf-8")
    wanted = {normal(name) for source in sources for name, _ in direct(PROJECT / "requirements" / source)}
    assert wanted - locked(lock).keys() == set()
    assert "://" not in text
    requirements = re.findall(r"^[A-Za-z][\w.-]*==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert [block.split()[0] for block in requirements if "--hash=sha256:" not in block] == []


def test_shared_packages_have_one_version() -> None:
    runtime, dev = locked("requirements.txt"), locked("requirements/dev.txt")
    assert {name for name in runtime.keys() & dev.keys() if runtime[name] != dev[name]} == set()


def test_test_tools_are_not_imported_by_product_code() -> None:
    tools = "pytest|hypothesis|xdist|schemathesis|playwright|pymerkle|coverage"
    pattern = re.compile(rf"^\s*(from|import) ({tools})\b", re.MULTILINE)
    files = [path for folder in ("ecp_project", "ledger") for path in (PROJECT / folder).rglob("*.py")]
    assert [str(path) for path in files if pattern.search(path.read_text(encoding="utf-8"))] == []


# --- owners and targets


def test_each_codeowners_pattern_matches_a_file_and_the_guarded_places_have_owners() -> None:
    tracked = git("ls-files")
    lines = (PROJECT / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    patterns = [line.split()[0] for line in lines if line and not line.startswith("#")]
    for pattern in patterns:
        place = pattern.lstrip("/")
        assert any(place in {"*", name} or name.startswith(place) for name in tracked), pattern
    assert {"/ledger/core/", "/ledger/migrations/", "/.github/"} <= set(patterns)


def test_make_help_lists_every_target() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE)) - {"install", "install-dev"}
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make")
    done = subprocess.run([make, "help"], cwd=PROJECT, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert set(re.findall(r"^ +make ([a-z-]+)", done.stdout, re.MULTILINE)) == targets
    assert {"run", "test", "bench", "lint", "check", "fix", "lock", "reset", "clean", "help"} <= targets


# --- import contracts


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(  # noqa: S603 - our own virtual environment
        [program, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(folder)},
    )


def packages() -> list[str]:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    names: list[str] = settings["tool"]["importlinter"]["root_packages"]
    return names


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contracts")
    shutil.copy(PROJECT / "pyproject.toml", folder)
    for name in packages():
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "static"))
    return folder


def test_every_package_is_under_contract() -> None:
    ours = {path.parent.name for path in PROJECT.glob("*/__init__.py")} - {"tests"}
    assert ours == set(packages())


def test_import_contracts_hold(copy: Path) -> None:
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout


PLANTED = [
    ("ledger/core/planted.py", "import django", "Kernel, cores and codecs know no framework"),
    ("ecp_project/kernel/planted.py", "import psycopg", "Kernel, cores and codecs know no framework"),
    ("ecp_project/kernel/planted.py", "import ledger.models", "Urls over console"),
    ("ecp_project/api/planted.py", "import ledger.models", "Urls over console"),
    ("ledger/models/planted.py", "import ledger.services", "Interface over services"),
    ("ledger/selectors/planted.py", "import ledger.services", "Interface over services"),
    ("ledger/services/planted.py", "import ledger.api", "Interface over services"),
    ("ledger/core/planted.py", "import ledger.models", "Interface over services"),
    ("advisory/friction/core/planted.py", "import django", "Kernel, cores and codecs know no framework"),
    ("ledger/services/planted.py", "import advisory.friction", "Urls over console"),
    ("advisory/friction/planted.py", "import ecp_project.console", "Urls over console"),
]


@pytest.mark.parametrize(("file", "statement", "contract"), PLANTED, ids=lambda value: str(value)[:40])
def test_planted_import_is_reported(copy: Path, file: str, statement: str, contract: str) -> None:
    planted = copy / file
    planted.write_text(f"{statement}\n", encoding="utf-8")
    try:
        done = lint_imports(copy)
    finally:
        planted.unlink()
    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert done.returncode == 1, done.stdout
    assert any(line.startswith(contract) for line in broken), done.stdout


def test_planted_service_import_in_the_sequencer_is_reported(copy: Path) -> None:
    sequencer = copy / "ledger" / "sequencer.py"
    source = sequencer.read_text(encoding="utf-8")
    sequencer.write_text(source + "\nimport ledger.services\n", encoding="utf-8")
    try:
        assert (
            "Interface over services over selectors over models over core BROKEN" in lint_imports(copy).stdout
        )
    finally:
        sequencer.write_text(source, encoding="utf-8")


def test_offline_verifier_loads_no_framework() -> None:
    probe = (
        "import sys, ledger.core.verify; "
        "frameworks = {'django', 'rest_framework', 'celery', 'psycopg', 'redis', 'httpx'}; "
        "print(sorted(frameworks & set(sys.modules)))"
    )
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", probe], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
