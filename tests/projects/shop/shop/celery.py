"""The application's Celery app, and the one line that adds bgtasks to it."""

from __future__ import annotations

import os

from celery import Celery

import bgtasks

app = Celery("shop", include=["shop.work"])
app.conf.update(
    beat_schedule={"stocktaking": {"task": "shop.stocktaking", "schedule": 3600.0}},
    bgtasks_database_url=os.environ["SHOP_DATABASE_URL"],
    bgtasks_store_url=os.environ["SHOP_FILES"],
    bgtasks_default_key=os.environ["SHOP_KEY"],
    bgtasks_base_url="https://shop.example.com",
    bgtasks_from_email="shop@example.com",
)
bgtasks.install(app, file_types=["shop.exports"])
