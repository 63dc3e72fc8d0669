"""Tests: fixed secrets, cheap password hashes; the servers are those of dev."""

from __future__ import annotations

from ecp_project import env
from ecp_project.settings.base import *  # noqa: F403 - layering settings this way is Django's own idiom
from ecp_project.settings.base import ECP_HOME, ECP_RATES, ECP_WEB_THREADS
from ecp_project.settings.databases import databases, server_urls

ECP_ENV = "test"
SECRET_KEY = "test " * 12
ECP_KEK = bytes(range(32))
ECP_KEK_FALLBACKS: list[bytes] = []

_URLS = server_urls(ECP_HOME)
DATABASES = databases(_URLS, pool=env.boolean("ECP_DB_POOL", default=False), threads=ECP_WEB_THREADS)
REDIS_URL = _URLS.get("REDIS_URL", "")

# Limits have tests of their own; elsewhere they would make results depend on speed.
ECP_RATES = {scope: env.Rate(1_000_000.0, 1_000_000) for scope in ECP_RATES}
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
ECP_OUTBOUND_LOOPBACK = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
# Each test client makes the middleware anew; it need not look at every static file before the first request.
WHITENOISE_AUTOREFRESH = True
