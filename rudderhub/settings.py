"""Django's settings, from those that rudderhub.env reads."""

from __future__ import annotations

from celery.schedules import crontab as _crontab

import rudderhub.env as _env
from rudderhub.admin.base import navigation as _unfold
from rudderhub.env import ROOT, database_settings

_settings = _env.Env()

VAR_DIR = _env.var_dir()
SECRET_KEY = _settings.text("SECRET_KEY") or "not-set-up-yet: make run writes a generated key"
ENCRYPTION_KEYS = _settings.items("ENCRYPTION_KEYS")
DEBUG = _settings.flag("DEBUG")
ALLOWED_HOSTS = _settings.items("ALLOWED_HOSTS")
BASE_URL = _settings.text("BASE_URL") or f"http://127.0.0.1:{_settings.integer('PORT')}"
CSRF_TRUSTED_ORIGINS = [BASE_URL]
APPEND_SLASH = False  # a redirect would turn a POST into a GET; the gateway has no redirects

# The gateway
MAX_BODY_BYTES = _settings.integer("MAX_BODY_BYTES")
MAX_EVENT_BYTES = _settings.integer("MAX_EVENT_BYTES")
TRUSTED_PROXIES = _settings.items("TRUSTED_PROXIES")
INTERNAL_TOKEN = _settings.text("INTERNAL_TOKEN")
INTERNAL_ROUTES = _settings.flag("INTERNAL_ROUTES")
PATH_PREFIX = _settings.path_prefix("PATH_PREFIX")
DATA_PLANE_URL = BASE_URL + PATH_PREFIX  # the address to which SDKs send
UNKNOWN_KEYS_PER_MINUTE = _settings.integer("UNKNOWN_KEYS_PER_MINUTE", least=0)  # 0: no limit
DATA_DIR = _settings.data_dir()
MIN_FREE_MB = _settings.integer("MIN_FREE_MB", least=0)
COMMIT_TIMEOUT_SECONDS = _settings.integer("COMMIT_TIMEOUT_SECONDS")
QUARANTINE_BYTES = _settings.integer("QUARANTINE_BYTES")  # of one source; the oldest go
QUARANTINE_DAYS = _settings.integer("QUARANTINE_DAYS")
REQUEST_MINUTES = _settings.integer("REQUEST_MINUTES", least=0)  # kept for the trace; 0 is none
QUARANTINE_ROWS = _settings.integer("QUARANTINE_ROWS")  # of one source; the oldest go
QUARANTINE_ROW_BYTES = _settings.integer("QUARANTINE_ROW_BYTES")  # a longer body is kept cut
SDK_DIR = _settings.text("SDK_DIR") or VAR_DIR / "sdk"  # what make sdk-scripts fetches
DATA_UPLOAD_MAX_MEMORY_SIZE = None  # the gateway has limits of its own (MAX_BODY_BYTES)

# What is kept, and how long
DEAD_LETTER_DAYS = _settings.integer("DEAD_LETTER_DAYS")
LOAD_HISTORY_DAYS = _settings.integer("LOAD_HISTORY_DAYS")
RETENTION_DAYS = _settings.integer("RETENTION_DAYS")
RETENTION_GB = _settings.integer("RETENTION_GB", least=0)  # 0: no limit
RETENTION_HARD_DAYS = _settings.integer("RETENTION_HARD_DAYS", least=0)  # 0: never

# Loads
LOAD_CHUNK_EVENTS = _settings.integer("LOAD_CHUNK_EVENTS")
LOAD_CHUNK_BYTES = _settings.integer("LOAD_CHUNK_BYTES")

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "allauth.account",
    "allauth.mfa",
    "sources",
    "destinations",
    "events",
    "rudderhub",
]

MIDDLEWARE = [
    "rudderhub.middleware.gateway_middleware",  # CORS for all; the gateway's paths end here
    "rudderhub.accounts.security_headers.PolicyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "rudderhub.accounts.second_factor.middleware.SecondFactorMiddleware",
]

ROOT_URLCONF = "rudderhub.urls"
WSGI_APPLICATION = "rudderhub.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "rudderhub" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": database_settings(_settings.text("DATABASE_URL"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": _settings.text("CACHE_URL"),
        "KEY_PREFIX": "rudderhub",
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
    }
}
# django-ratelimit does not know Django's own Redis cache; its counters are atomic all the same
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.W001"]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
REQUIRE_SECOND_FACTOR = _settings.flag("REQUIRE_SECOND_FACTOR")
ACCOUNT_ADAPTER = "rudderhub.accounts.second_factor.adapters.AccountAdapter"
ACCOUNT_RATE_LIMITS = False  # LockOut counts wrong passwords, second_factor.codes wrong codes
MFA_ADAPTER = "rudderhub.accounts.second_factor.adapters.MFAAdapter"
MFA_TOTP_ISSUER = "rudderhub"
AUTHENTICATION_BACKENDS = [
    "rudderhub.accounts.lockout.LockOut",
    "django.contrib.auth.backends.ModelBackend",
]
SESSION_ENGINE = "rudderhub.accounts.session_store"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BASE_URL.startswith("https://")

STATIC_URL = "/static/"
STATICFILES_DIRS = [("unfold/js/alpine", ROOT / "rudderhub" / "vendor" / "alpine")]
WHITENOISE_USE_FINDERS = True  # served from the packages: nothing to collect
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"

CELERY_BROKER_URL = _settings.text("BROKER_URL") or _settings.text("CACHE_URL")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "max_retries": 0,  # of publishers; workers and beat retry without end
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_PUBLISH_RETRY = False  # a request never waits for a dead broker
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = True  # a busy worker keeps no message that another could take
CELERY_WORKER_CONCURRENCY = _settings.integer("WORKER_CONCURRENCY")
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "beat")
CELERY_BEAT_SCHEDULE = {
    task: {"task": f"events.tasks.{task}", "schedule": when, "options": {"expires": seconds}}
    for task, when, seconds in (
        ("enqueue_waiting_work", 5.0, 5),
        ("count_log", 10.0, 10),
        ("maintain_destinations", 60.0, 60),
        ("check_identities", _crontab(hour=3, minute=20), 3600),
        ("maintain_log", 3600.0, 3600),
    )
}

UNFOLD = _unfold.UNFOLD

REST_FRAMEWORK: dict[str, object] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": _settings.text("LOG_LEVEL")},
    "loggers": {  # two lines per task, every few seconds; a load logs its own line
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
    },
}
