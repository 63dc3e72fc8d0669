"""Development and the first run: secrets and servers live under `ECP_HOME`."""

from __future__ import annotations

from ecp_project import env
from ecp_project.settings.base import *  # noqa: F403 - layering settings this way is Django's own idiom
from ecp_project.settings.base import ECP_ENV, ECP_HOME, ECP_WEB_THREADS
from ecp_project.settings.databases import databases, server_urls
from ecp_project.settings.secrets import kek, kept_or_made, new_kek, new_secret

if ECP_ENV != "dev":
    raise env.EnvError(f"ECP_ENV is {ECP_ENV!r}, but the settings module is that of dev")

DEBUG = env.boolean("ECP_DEBUG", default=False)
SECRET_KEY = env.secret("SECRET_KEY", "") or kept_or_made(ECP_HOME / "keys" / "secret_key", new_secret())
SECRET_KEY_FALLBACKS = env.secret_items("SECRET_KEY_FALLBACKS")
ECP_KEK = kek("ECP_KEK", env.secret("ECP_KEK", "") or kept_or_made(ECP_HOME / "keys" / "kek", new_kek()))
ECP_KEK_FALLBACKS = [kek("ECP_KEK_FALLBACKS", value) for value in env.secret_items("ECP_KEK_FALLBACKS")]

_URLS = server_urls(ECP_HOME)
DATABASES = databases(_URLS, pool=env.boolean("ECP_DB_POOL", default=True), threads=ECP_WEB_THREADS)
REDIS_URL = _URLS.get("REDIS_URL", "")

ECP_OUTBOUND_LOOPBACK = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
