"""The site's settings; those of Celery and bgtasks begin with ``CELERY_``."""

from __future__ import annotations

import os
from pathlib import Path

SECRET_KEY = os.environ["SITE_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "orders",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "django_site.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(os.environ["SITE_DATA"]) / "site.db"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast, for an example; keep Django's default
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
TIME_ZONE = "Europe/Zurich"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
LOGIN_REDIRECT_URL = "/"

# A file of its own: SQLite has one writer at a time, and the site's transactions must not wait for ours.
CELERY_BGTASKS_DATABASE_URL = f"sqlite:///{Path(os.environ['SITE_DATA']) / 'bgtasks.db'}"
CELERY_BGTASKS_STORE_URL = os.environ["SITE_FILES"]
CELERY_BGTASKS_DEFAULT_KEY = SECRET_KEY
CELERY_BGTASKS_BASE_URL = os.environ["SITE_URL"] + "/exports"
CELERY_BGTASKS_LOGIN_URL = "/accounts/login/"
CELERY_BGTASKS_FROM_EMAIL = "shop@example.com"
