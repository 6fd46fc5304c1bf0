"""Django over the benchmark's table: settings, and a model of a table that it does not manage."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings

from tests.bench import once


def configure(apps: list[str]) -> None:
    """Set Django up, with its own tables in memory and the rows' database as ``source``."""
    url = urlsplit(once.url())
    source = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.removeprefix("/"),
        "USER": url.username,
        "HOST": parse_qs(url.query)["host"][0],  # the folder of its socket
    }
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", *apps],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}, "source": source},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        MEDIA_ROOT=str(once.folder() / "media"),
        SECRET_KEY="a key for the benchmark",
        USE_TZ=True,
    )
    django.setup()


@functools.cache
def event(rows: int) -> Any:
    """The model of the table of so many rows."""
    from django.db import models

    class Meta:
        app_label = "bench"
        managed = False
        db_table = once.TABLE.format(rows)

    fields = {
        "id": models.IntegerField(primary_key=True),
        "at": models.DateTimeField(),
        "name": models.TextField(),
        "address": models.TextField(),
        "succeeded": models.BooleanField(),
        "amount": models.DecimalField(max_digits=12, decimal_places=2),
        "note": models.TextField(null=True),
    }
    return type(f"Event{rows}", (models.Model,), {"__module__": __name__, "Meta": Meta, **fields})
