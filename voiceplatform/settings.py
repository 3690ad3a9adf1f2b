"""Every setting of the platform, read once from the environment through ``env``.

With no environment at all this is the embedded default of design decision 8: SQLite (WAL,
IMMEDIATE) and a Valkey server on a unix socket, both under ``VAR_DIR``. Secrets that are missing
are reported by system checks (``base.E001``...), not here, so that every command can start and
say what is wrong.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import sys
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from voiceplatform import admin_look, env

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.text("VAR_DIR", str(BASE_DIR / "var"))).resolve()
RUN_DIR = env.run_dir(VAR_DIR)

DEBUG = env.flag("DEBUG")
HOST = env.text("HOST", "127.0.0.1")
PORT = env.integer("PORT", 8000, low=1, high=65535)
PUBLIC_BASE_URL = env.text("PUBLIC_BASE_URL", f"http://127.0.0.1:{PORT}").rstrip("/")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS") or list(
    dict.fromkeys(["127.0.0.1", "localhost", "[::1]", urlsplit(PUBLIC_BASE_URL).hostname or ""])
)
CSRF_TRUSTED_ORIGINS = [PUBLIC_BASE_URL]
PUBLIC_IS_HTTPS = PUBLIC_BASE_URL.startswith("https://")


def _key(name: str, file_name: str) -> str:
    """Return the secret from the environment, else the one generated under VAR_DIR, else ''."""
    value = env.text(name)
    if value:
        return value
    path = VAR_DIR / "keys" / file_name
    return path.read_text(encoding="ascii").strip() if path.is_file() else ""


_secret_key = _key("SECRET_KEY", "secret_key")
SECRET_KEY_MISSING = not _secret_key
# Django refuses to start without a value; a throw-away one lets `check` run and name the lack.
SECRET_KEY = _secret_key or secrets.token_urlsafe(48)
FIELD_ENCRYPTION_KEYS = [
    key for key in _key("FIELD_ENCRYPTION_KEYS", "field_encryption_keys").split(",") if key.strip()
]

# Only `runserver` needs the app; every other process would import Twisted for nothing.
_RUNSERVER_APPS = ["daphne"] if sys.argv[1:2] == ["runserver"] else []

INSTALLED_APPS = [
    *_RUNSERVER_APPS,
    "voiceplatform.admin_site.AdminConfig",  # unfold
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular_sidecar",  # the files of /docs
    "csp",
    "voiceplatform.base",
    "tools",
    "assistants",
    "calls",
]

MIDDLEWARE = [
    "voiceplatform.one_encoding.Utf8RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "voiceplatform.csp_admin.AdminAwareCSPMiddleware",
]

ROOT_URLCONF = "voiceplatform.urls"
ASGI_APPLICATION = "voiceplatform.asgi.application"
WSGI_APPLICATION = None
# A redirect to a slash drops the body of a POST and changes the URL that Twilio signed.
APPEND_SLASH = False

TEMPLATES = [
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
    },
]

DATABASE_URL = env.text("DATABASE_URL")


def _database(url: str) -> dict[str, object]:
    """Translate ``DATABASE_URL`` to Django's form.

    ``postgresql://user:password@host/name``, also with libpq's query parameters
    (``?sslmode=require``, ``?host=/folder/of/the/socket``); ``sqlite:////absolute/path``.
    """
    parts = urlsplit(url)
    if parts.scheme in {"postgres", "postgresql"}:
        query = dict(parse_qsl(parts.query))
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.removeprefix("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": query.pop("host", parts.hostname or ""),
            "PORT": str(parts.port or ""),
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {
                # The pool waits 30 s by default while the server is down; a caller does not.
                "pool": {"min_size": 0, "max_size": 16, "timeout": 2},
                "connect_timeout": 2,
                "options": "-c statement_timeout=5000",
                **query,
            },
        }
    if parts.scheme == "sqlite" and len(parts.path) > 1:
        return _sqlite(Path(unquote(parts.path).removeprefix("/")))
    raise env.EnvError(
        f"DATABASE_URL starts with {parts.scheme!r}. Fix: postgresql://user:password@host/name "
        "or sqlite:////absolute/path."
    )


def _sqlite(path: Path) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
                "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16000; "
                # What is deleted is overwritten: an erasure must reach the bytes of the file.
                "PRAGMA secure_delete=ON;"
            ),
        },
    }


DATABASE_IS_EMBEDDED = not DATABASE_URL
DATABASES = {
    "default": _database(DATABASE_URL) if DATABASE_URL else _sqlite(VAR_DIR / "db.sqlite3")
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_IS_EMBEDDED = not env.text("REDIS_URL")
REDIS_SOCKET = RUN_DIR / "valkey.sock"
REDIS_URL = env.text("REDIS_URL") or f"unix://{REDIS_SOCKET}"
CELERY_BROKER_URL = f"redis+socket://{REDIS_SOCKET}" if REDIS_IS_EMBEDDED else REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = 60
CELERY_TASK_TIME_LIMIT = 90
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 1, "socket_timeout": 5}
CELERY_TIMEZONE = "UTC"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "/static/"
# No STATIC_ROOT: files come straight from the packages, one step less to forget in a deploy.
WHITENOISE_USE_FINDERS = True

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = PUBLIC_IS_HTTPS
CSRF_COOKIE_SECURE = PUBLIC_IS_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if PUBLIC_IS_HTTPS else 0
X_FRAME_OPTIONS = "DENY"
if PUBLIC_IS_HTTPS:
    # The terminator in front of us speaks plain HTTP to us; nothing is built from these headers.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # sibling subdomains are the operator's, not ours to pin to HTTPS
    "security.W008",  # TLS ends before us; a redirect would lose the body Twilio signed
    "security.W021",  # preloading is the operator's decision, and hard to take back
]
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    }
}
# What unfold needs (stack.md); `csp_admin` applies it under /admin/ only.
CONTENT_SECURITY_POLICY_ADMIN = {
    "script-src": ["'self'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
    "img-src": ["'self'", "data:"],
}

OPENAI_API_KEY = env.text("OPENAI_API_KEY")
OPENAI_REALTIME_URL = env.text("OPENAI_REALTIME_URL", "wss://api.openai.com/v1/realtime")
OPENAI_BASE_URL = env.text("OPENAI_BASE_URL", "https://api.openai.com/v1").rstrip("/")
OPENAI_REALTIME_MODEL = "gpt-realtime-2.1"
OPENAI_TEXT_MODEL = env.text("OPENAI_TEXT_MODEL", "gpt-5.4-mini")
TWILIO_ACCOUNT_SID = env.text("TWILIO_ACCOUNT_SID")
TWILIO_AUTH_TOKEN = env.text("TWILIO_AUTH_TOKEN")
TWILIO_AUTH_TOKEN_SECONDARY = env.text("TWILIO_AUTH_TOKEN_SECONDARY")
TWILIO_API_BASE_URL = env.text("TWILIO_API_BASE_URL").rstrip("/")
VAPI_API_KEY = env.text("VAPI_API_KEY")
VAPI_BASE_URL = env.text("VAPI_BASE_URL", "https://api.vapi.ai").rstrip("/")

# Notices to people (calls/services/notices.py). Without a host no mail is sent.
EMAIL_HOST = env.text("SMTP_HOST")
EMAIL_PORT = env.integer("SMTP_PORT", 587, low=1, high=65535)
EMAIL_HOST_USER = env.text("SMTP_USER")
EMAIL_HOST_PASSWORD = env.text("SMTP_PASSWORD")
SMTP_SECURITY = env.text("SMTP_SECURITY", "starttls")
EMAIL_USE_TLS = SMTP_SECURITY == "starttls"
EMAIL_USE_SSL = SMTP_SECURITY == "tls"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("MAIL_FROM")

DRAIN_SECONDS = env.integer("DRAIN_SECONDS", 600, low=0, high=86_400)
MAX_CONCURRENT_CALLS = env.integer("MAX_CONCURRENT_CALLS", 200, low=1, high=100_000)
CALL_ANALYSIS = env.flag("CALL_ANALYSIS", default=True)
STANDINS = env.flag("STANDINS")
DEMO_ONCE = env.flag("ONCE")


def _egress_allow() -> list[str]:
    """Return hosts and networks that outgoing requests may reach although they are private."""
    entries = env.words("EGRESS_ALLOW")
    for entry in entries:
        try:
            ipaddress.ip_network(entry)
        except ValueError:
            if not re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9_.-]+", entry):
                raise env.EnvError(
                    f"EGRESS_ALLOW holds {entry!r}, which is neither a host name nor a network. "
                    "Fix: e.g. EGRESS_ALLOW=10.1.2.0/24,tools.internal."
                ) from None
    # The supervisor binds the stand-ins to loopback; nothing else becomes reachable by them.
    return [*entries, "127.0.0.0/8"] if STANDINS else entries


EGRESS_ALLOW = _egress_allow()

LOGGING_CONFIG = "voiceplatform.logconf.configure"
LOGGING = {"debug": DEBUG}

# Admin and REST (voiceplatform.admin_look, voiceplatform.drf)
UNFOLD = admin_look.UNFOLD
LOGIN_URL = "admin:login"
# unfold's login form forgets the page that Django proposes.
LOGIN_REDIRECT_URL = "admin:index"
FORMAT_MODULE_PATH = "voiceplatform.formats"
REST_FRAMEWORK: dict[str, object] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["voiceplatform.drf.BearerKey"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "EXCEPTION_HANDLER": "voiceplatform.drf.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "voiceplatform.base.openapi.Schema",
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS: dict[str, object] = {
    "TITLE": "voiceplatform",
    "DESCRIPTION": (
        "Vapi's REST surface at the root of this platform. Unknown fields are kept and returned; "
        "secrets are write-only; PATCH replaces the top-level fields that are sent, and `null` "
        "clears. A route that does not exist answers 404 and names itself, a method that a route "
        "does not have 405."
    ),
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [],
}
# Per API key. A config-as-code tool paces itself far below; a loop gone wild meets 429.
REST_REQUESTS_PER_SECOND = 20
REST_REQUESTS_BURST = 100
