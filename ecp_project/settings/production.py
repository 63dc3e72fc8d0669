"""Production: nothing is generated or guessed, an unsafe setting stops the start (OPERATIONS section 3)."""

from __future__ import annotations

from ecp_project import env
from ecp_project.settings.base import *  # noqa: F403 - layering settings this way is Django's own idiom
from ecp_project.settings.base import (
    ALLOWED_HOSTS,
    BASE_DIR,
    ECP_BASE_URL,
    ECP_ENV,
    ECP_HOME,
    ECP_TRUSTED_PROXIES,
    ECP_WEB_THREADS,
)
from ecp_project.settings.databases import databases, server_urls
from ecp_project.settings.secrets import kek

MIN_SECRET_LENGTH = 50
MIN_SECRET_LETTERS = 5

if ECP_ENV != "production":
    raise env.EnvError(f"ECP_ENV is {ECP_ENV!r}, but the settings module is that of production")
if env.boolean("ECP_DEBUG", default=False):
    raise env.EnvError("ECP_DEBUG must be off in production")
if not env.items("ALLOWED_HOSTS") or any(host.startswith("*") for host in ALLOWED_HOSTS):
    raise env.EnvError("ALLOWED_HOSTS must name the hosts of this installation, without *")
if not ECP_BASE_URL.startswith("https://"):
    raise env.EnvError(
        "ECP_BASE_URL must start with https:// in production; TLS cookies and HSTS follow from it"
    )

SECRET_KEY = env.secret("SECRET_KEY")
_IS_WEAK = len(SECRET_KEY) < MIN_SECRET_LENGTH or len(set(SECRET_KEY)) < MIN_SECRET_LETTERS
if _IS_WEAK or SECRET_KEY.startswith("django-insecure-"):
    raise env.EnvError(f"SECRET_KEY must be random and hold at least {MIN_SECRET_LENGTH} characters")
SECRET_KEY_FALLBACKS = env.secret_items("SECRET_KEY_FALLBACKS")
# Only web and worker open sealed parts; the other processes run without the key (SECURITY section 9).
_KEK = env.secret("ECP_KEK", "")
ECP_KEK = kek("ECP_KEK", _KEK) if _KEK else b""
ECP_KEK_FALLBACKS = [kek("ECP_KEK_FALLBACKS", value) for value in env.secret_items("ECP_KEK_FALLBACKS")]

env.secret("DATABASE_URL")  # nothing embedded in production
_URLS = server_urls(ECP_HOME)
DATABASES = databases(_URLS, pool=env.boolean("ECP_DB_POOL", default=True), threads=ECP_WEB_THREADS)
REDIS_URL = env.secret("REDIS_URL")

SECURE_SSL_REDIRECT = True
SECURE_REDIRECT_EXEMPT = [r"^(livez|readyz|startupz)$"]  # probes come straight to the process
SECURE_HSTS_SECONDS = 365 * 24 * 3600
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # neighbours under the same domain are not ours to force to TLS
    "security.W021",  # nor is the browsers' preload list
]
if ECP_TRUSTED_PROXIES:  # only a proxy that we know overwrites this header
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
