"""A production start refuses what is unsafe, and names the variable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).resolve().parents[2]
GOOD = {
    "ECP_ENV": "production",
    "SECRET_KEY": "q7Zp-2mX_" * 6,
    "ALLOWED_HOSTS": "ecp.example.org",
    "ECP_BASE_URL": "https://ecp.example.org",
    "DATABASE_URL": "postgresql://ecp_app:secret@db.example.org/ecp",
    "REDIS_URL": "redis://redis.example.org/0",
}
NAMES = (
    "DEBUG", "SESSION_COOKIE_NAME", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "CSRF_COOKIE_NAME",
    "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS",
)  # fmt: skip
SHOW = (
    "import json; from django.conf import settings as s;"
    f"print(json.dumps({{name: getattr(s, name) for name in {NAMES}}}))"
)


def start(changes: dict[str, str | None], *command: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    surroundings = inherited | {name: value for name, value in (GOOD | changes).items() if value is not None}
    return subprocess.run(  # noqa: S603 - our own interpreter and arguments
        [sys.executable, *(command or ("-c", SHOW))],
        env=surroundings | {"DJANGO_SETTINGS_MODULE": "ecp_project.settings.production"},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_good_environment_starts_with_every_tls_flag_on() -> None:
    done = start({})
    assert done.returncode == 0, done.stderr
    assert '"__Host-sessionid"' in done.stdout
    assert '"__Host-csrftoken"' in done.stdout
    assert '"DEBUG": false' in done.stdout
    assert '"SECURE_SSL_REDIRECT": true' in done.stdout
    assert '"SECURE_HSTS_SECONDS": 31536000' in done.stdout


def test_deploy_check_has_no_warning() -> None:
    done = start({}, "manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"SECRET_KEY": None}, "SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"SECRET_KEY": "ab" * 40}, "SECRET_KEY"),
        ({"SECRET_KEY": "django-insecure-" + "x" * 60}, "SECRET_KEY"),
        ({"ECP_DEBUG": "1"}, "ECP_DEBUG"),
        ({"ECP_DEBUG": "perhaps"}, "ECP_DEBUG"),
        ({"ALLOWED_HOSTS": None}, "ALLOWED_HOSTS"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS"),
        ({"ALLOWED_HOSTS": "a.example.org,*.example.org"}, "ALLOWED_HOSTS"),
        ({"ECP_BASE_URL": None}, "ECP_BASE_URL"),
        ({"ECP_BASE_URL": "http://ecp.example.org"}, "ECP_BASE_URL"),
        ({"ECP_BASE_URL": "https://ecp.example.org/path"}, "ECP_BASE_URL"),
        ({"ECP_STREAM_URL": "https://live.example.org"}, "ECP_STREAM_URL"),
        ({"ECP_STREAM_URL": "http://ecp.example.org:8443"}, "ECP_STREAM_URL"),
        ({"ECP_STREAM_URL": "https://ecp.example.org?; script-src *"}, "ECP_STREAM_URL"),
        ({"DATABASE_URL": None}, "DATABASE_URL"),
        ({"DATABASE_URL": "mysql://db/ecp"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://db:99999999/ecp"}, "DATABASE_URL"),
        ({"REDIS_URL": None}, "REDIS_URL"),
        ({"ECP_KEK": "too-short"}, "ECP_KEK"),
        ({"ECP_PORT": "8000 "}, "ECP_PORT"),
        ({"ECP_RATE_APPEND": "fast"}, "ECP_RATE_APPEND"),
        ({"ECP_AGENT_ALLOWED_NETS": "10.0.0.1/8"}, "ECP_AGENT_ALLOWED_NETS"),
        ({"ECP_ENV": "prod"}, "ECP_ENV"),
        ({"ECP_ENV": None}, "ECP_ENV"),
    ],
)
def test_unsafe_or_unreadable_value_stops_the_start_and_names_its_variable(
    changes: dict[str, str | None], named: str
) -> None:
    done = start(changes)
    assert done.returncode != 0
    last_line = done.stderr.strip().splitlines()[-1]
    assert last_line.startswith("ecp_project.env.EnvError: ")
    assert named in last_line


def test_error_about_a_secret_does_not_print_it() -> None:
    done = start({"SECRET_KEY": "django-insecure-" + "x" * 60, "ECP_KEK": "canary-kek"})
    assert "canary-kek" not in done.stderr
    assert "insecure-" not in done.stderr
