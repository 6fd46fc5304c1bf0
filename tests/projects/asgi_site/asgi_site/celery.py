"""The site's Celery app, in workers and in web processes: ``celery -A asgi_site.celery worker``."""

from __future__ import annotations

import os

from celery import Celery

import bgtasks

app = Celery("asgi_site")
app.conf.update(
    bgtasks_database_url=os.environ["SITE_DATABASE"],
    bgtasks_store_url=os.environ["SITE_FILES"],
    bgtasks_default_key=os.environ["SITE_KEY"],
    bgtasks_base_url=os.environ["SITE_URL"] + "/exports",
    bgtasks_from_email="museum@example.com",
    bgtasks_identify="asgi_site.login:identify",
)
bgtasks.install(app, file_types=["asgi_site.exports"])
