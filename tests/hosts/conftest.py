"""Each example project at work, for all tests of a folder's module."""

from __future__ import annotations

from collections.abc import Iterator

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections

from bgtasks.stack import Mailbox
from tests.hosts.sites import Site


@pytest.fixture(scope="session")
def post_office() -> Iterator[Mailbox]:
    """A real SMTP server that all the projects use."""
    box = Mailbox()
    yield box
    box.stop()


@pytest.fixture(scope="session")
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, post_office: Mailbox
) -> Iterator[Site]:
    """A project with its broker, its worker and its web server."""
    made = Site(request.param, tmp_path_factory.mktemp("site"), post_office.url)
    try:
        made.start()
        yield made
    finally:
        made.stack.stop()


@pytest.fixture(scope="session")
def django_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Django in this process, with users and groups in a database of its own."""
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": tmp_path_factory.mktemp("django") / "site.db",
            }
        },
        DATA_UPLOAD_MAX_MEMORY_SIZE=100_000,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        LANGUAGES=[("en", "English"), ("de", "Deutsch")],
        ROOT_URLCONF="tests.hosts.urls",
        SECRET_KEY="of these tests",
        TIME_ZONE="Europe/Zurich",
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", verbosity=0)
    yield
    connections.close_all()
