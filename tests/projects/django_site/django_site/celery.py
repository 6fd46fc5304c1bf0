"""The site's Celery app: ``celery -A django_site worker``."""

from __future__ import annotations

import os

from celery import Celery

import bgtasks

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_site.settings")

app = Celery("django_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
bgtasks.install(app, file_types=["orders.exports"])
