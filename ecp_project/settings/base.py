"""What every environment shares; `dev`, `test` and `production` add secrets, databases and strictness."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ecp_project import env
from ecp_project.observability.logging import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent.parent
ECP_ENV = env.choice("ECP_ENV", "dev", env.ENVIRONMENTS)

# --- where things lie
ECP_HOME = env.path("ECP_HOME", BASE_DIR / ".ecp")
ECP_STATE_DIR = env.path("ECP_STATE_DIR", ECP_HOME / "state")
ECP_FILES_DIR = env.path("ECP_FILES_DIR", ECP_HOME / "files")
ECP_PORT = env.integer("ECP_PORT", 8000, minimum=1, maximum=65535)
ECP_METRICS_PORT = env.integer("ECP_METRICS_PORT", 9108, maximum=65535)
ECP_METRICS_ADDRESS = env.text("ECP_METRICS_ADDRESS", "127.0.0.1")
ECP_BASE_URL = env.text("ECP_BASE_URL", f"http://127.0.0.1:{ECP_PORT}").rstrip("/")
_BASE = urlsplit(ECP_BASE_URL)
if _BASE.scheme not in {"http", "https"} or not _BASE.hostname or _BASE.path:
    raise env.EnvError("ECP_BASE_URL must be scheme://host or scheme://host:port, without a path")
_SECURE = _BASE.scheme == "https"
# Another origin of the live feed; the session's cookie goes to every port of one host, and to no other host.
ECP_STREAM_URL = env.text("ECP_STREAM_URL", "").rstrip("/")
_HOST = re.escape(ECP_BASE_URL.removesuffix(f":{_BASE.port}"))
if ECP_STREAM_URL and not re.fullmatch(rf"{_HOST}(:[0-9]{{1,5}})?", ECP_STREAM_URL):
    raise env.EnvError("ECP_STREAM_URL must have the scheme and host of ECP_BASE_URL, and no path")
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
ECP_COMMIT = env.text("ECP_COMMIT", "unknown")
PROMETHEUS_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)  # OPERATIONS section 8

# --- ledger
ECP_ORIGIN_HOST = env.text("ECP_ORIGIN_HOST", "ecp.local" if ECP_ENV != "production" else _BASE.hostname)
ECP_SIGNING_KEY_FILE = env.path("ECP_SIGNING_KEY_FILE", ECP_HOME / "keys" / "ledger.key")
ECP_LOG_PUBLIC_KEYS = env.path("ECP_LOG_PUBLIC_KEYS", ECP_HOME / "keys" / "log-keys.json")
ECP_LEDGER_MODE = env.choice("ECP_LEDGER_MODE", "ACTIVE", ("ACTIVE", "HALT"))
ECP_LEDGER_FAILURE_MODE = env.choice("ECP_LEDGER_FAILURE_MODE", "halt", ("halt", "degrade", "dark"))
if ECP_LEDGER_FAILURE_MODE != "halt":
    raise env.EnvError(
        f"ECP_LEDGER_FAILURE_MODE is {ECP_LEDGER_FAILURE_MODE!r}; this version takes halt alone: during a "
        "fault appends are refused, and nothing is spooled or passed over"
    )
ECP_CHECKPOINT_SINKS = env.items("ECP_CHECKPOINT_SINKS", f"file:{ECP_HOME / 'checkpoints.ndjson'}")
CONTEXT_POLICY_FILE = BASE_DIR / "config" / "context_policy.yml"

# --- processes
ECP_WEB_PROCESSES = env.integer("ECP_WEB_PROCESSES", 2, minimum=1, maximum=256)
ECP_WEB_THREADS = env.integer("ECP_WEB_THREADS", 8, minimum=1, maximum=256)

# --- limits (SECURITY section 8); rates per second with a burst, except the last three, which run at one time
ECP_RATES = {
    "append": env.rate("ECP_RATE_APPEND", "100/s burst 200"),
    "append_batch": env.rate("ECP_RATE_APPEND_BATCH", "20/s"),
    "read": env.rate("ECP_RATE_READ", "50/s"),
    "staff": env.rate("ECP_RATE_STAFF", "10/s burst 50"),
    "static": env.rate("ECP_RATE_STATIC", "50/s"),
    "poll": env.rate("ECP_RATE_POLL", "10/min"),
}
ECP_RUNNING = {
    "export": env.integer("ECP_RATE_EXPORT", 2, minimum=1),
    "verify": env.integer("ECP_RATE_VERIFY", 1, minimum=1),
    "stream": env.integer("ECP_RATE_STREAM", 6, minimum=1),  # of one person, in one stream process
}
ECP_TRUSTED_PROXIES = env.integer("ECP_TRUSTED_PROXIES", 0, maximum=10)
ECP_VERBOSE_NETS = env.networks("ECP_VERBOSE_NETS", "127.0.0.0/8,::1/128")

# --- outbound guard (SECURITY section 6)
ECP_AGENT_ALLOWED_NETS = env.networks("ECP_AGENT_ALLOWED_NETS")
ECP_AGENT_ALLOWED_PORTS = env.ports("ECP_AGENT_ALLOWED_PORTS")
ECP_OUTBOUND_LOOPBACK = False
ECP_DELIVERY_KEY_FILE = env.path("ECP_DELIVERY_KEY_FILE", ECP_HOME / "keys" / "delivery.key")
ECP_DELIVERY_PUBLIC_KEYS = env.path("ECP_DELIVERY_PUBLIC_KEYS", ECP_HOME / "keys" / "delivery-keys.json")

# --- Django
ROOT_URLCONF = "ecp_project.urls"
WSGI_APPLICATION = "ecp_project.wsgi.application"
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = True
FORMAT_MODULE_PATH = ["ecp_project.formats"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APPEND_SLASH = True

INSTALLED_APPS = [
    "ecp_project.console.apps.ConsoleAdminConfig",
    "ecp_project.console.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "ecp_project.apps.ProjectConfig",
    "ledger",
]
# Optional apps; without them their pages, addresses and tables are not there.
if env.boolean("ECP_POLLS", default=True):
    INSTALLED_APPS.append("advisory.polls")

# --- advisory apps: each can be left out, and the ledger still runs
if env.boolean("ECP_FRICTION", default=True):
    INSTALLED_APPS.append("advisory.friction")
ECP_ADVISORY_MODE = env.choice("ECP_ADVISORY_MODE", "friction", ("observer", "friction"))

# --- mail, for notifications of advice
EMAIL_HOST = env.text("ECP_MAIL_HOST", "localhost")
EMAIL_PORT = env.integer("ECP_MAIL_PORT", 25, minimum=1, maximum=65_535)
EMAIL_HOST_USER = env.text("ECP_MAIL_USER", "")
EMAIL_HOST_PASSWORD = env.secret("ECP_MAIL_PASSWORD", "")
EMAIL_USE_TLS = env.boolean("ECP_MAIL_TLS", default=False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("ECP_MAIL_FROM", "ecp@localhost")

MIDDLEWARE = [
    "ecp_project.observability.middleware.RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "ecp_project.console.messages.ConsoleMessages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

STATIC_URL = "/static/"

LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING = logging_config(env.choice("ECP_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")))

# --- staff (SECURITY section 4)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "ecp_project.api.passwords.MaximumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "ecp_project.api.passwords.ContextWordValidator"},
]
LOGIN_URL = "/console/login/"
LOGIN_REDIRECT_URL = "/console/"
LOGOUT_REDIRECT_URL = "/console/login/"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = _SECURE
SESSION_COOKIE_NAME = "__Host-sessionid" if _SECURE else "sessionid"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = _SECURE
CSRF_COOKIE_NAME = "__Host-csrftoken" if _SECURE else "csrftoken"
CSRF_FAILURE_VIEW = "ecp_project.api.problems.csrf_failure"
CSRF_TRUSTED_ORIGINS = [ECP_BASE_URL] if _SECURE else []

# --- headers (SECURITY section 7, CONSOLE section 16)
SECURE_CSP = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": f"'self' {ECP_STREAM_URL}".strip(),
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "object-src": "'none'",
    "manifest-src": "'self'",
}
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 6 * 2**20  # ours is counted while reading: api/parsers.py

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["ecp_project.api.authentication.StaffSessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["ecp_project.api.permissions.Deny"],
    "DEFAULT_PARSER_CLASSES": ["ecp_project.api.parsers.DocumentParser"],
    "DEFAULT_RENDERER_CLASSES": ["ecp_project.api.renderers.OrjsonRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "ecp_project.api.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
    "NUM_PROXIES": ECP_TRUSTED_PROXIES,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "ECP",
    "DESCRIPTION": "Echo Coordination Protocol: decisions in, receipts out that strangers can verify.",
    "VERSION": "v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "ecp_project.api.schema.add_problems",
    ],
}
