"""bgtasks in an application with a Celery app, models and migrations of its own; run for real."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from celery import Celery
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url

import bgtasks
from bgtasks.stack import Mailbox, Stack, free_port
from tests.conftest import KEY
from tests.support import brokers
from tests.support.brokers import Broker

SHOP = Path(__file__).parent.parent / "projects" / "shop"


@pytest.fixture
def shop(database_url: str, mailbox: Mailbox, tmp_path: Path) -> Iterator[Stack]:
    """The application's processes."""
    env = {
        "SHOP_DATABASE_URL": database_url,
        "SHOP_FILES": str(tmp_path / "files"),
        "SHOP_KEY": KEY,
        "BGTASKS_SMTP_URL": mailbox.url,
        "PYTHONPATH": str(SHOP),
    }
    (tmp_path / "var").mkdir()
    made = Stack(SHOP, tmp_path / "var", env, app="shop.celery")
    yield made
    made.stop()


@pytest.fixture
def broker(request: pytest.FixtureRequest, shop: Stack) -> Broker:
    """A broker of their own."""
    return brokers.start(request, shop)


def run(shop: Stack, *command: str) -> str:
    """What a command of the application's prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, *command],
        check=False,
        cwd=SHOP,
        env={**os.environ, **shop.env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize(
    ("database_url", "broker"),
    [("sqlite", "valkey"), ("postgresql", "valkey"), ("sqlite", "rabbitmq")],
    indirect=True,
)
def test_an_application_with_everything_of_its_own(shop: Stack, mailbox: Mailbox, database_url: str) -> None:
    """Its migrations and ours live side by side, its worker makes files, its web process serves them."""
    run(shop, "-m", "alembic", "upgrade", "head")
    assert "up to date" in run(shop, "-m", "celery", "-A", "shop.celery", "bgtasks", "migrate")
    run(shop, "-m", "alembic", "check")

    worker = shop.start_worker()
    assert "files.orders" in worker.output()
    seen: dict[str, Any] = json.loads(run(shop, "visit.py"))

    assert seen["result"]["rows"] == 1
    assert seen["status"] == 200
    assert seen["text"] == "id,amount\r\n1,12.00\r\n"
    assert seen["types"] == ["orders"]
    assert seen["beat"] == ["bgtasks-clean", "bgtasks-dispatch", "bgtasks-recover", "bgtasks-remind", "stocktaking"]
    assert seen["own"] == "all there"

    with _download(shop, seen["path"], "ada@example.com") as answer:
        assert answer.read().decode() == seen["text"]

    engine = create_engine(make_url(database_url.replace("postgresql:", "postgresql+psycopg:")))
    tables = set(inspect(engine).get_table_names())
    assert {"orders", "alembic_version", "bgtasks_alembic_version", "bgtasks_file_requests"} <= tables
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [("0001",)]
    engine.dispose()


def _download(shop: Stack, path: str, user: str) -> Any:
    """From the application's web server, which answers in threads."""
    port = free_port()
    shop.start_web("shop.web:application", port)
    basic = base64.b64encode(f"{user}:".encode()).decode()
    return urlopen(Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Basic {basic}"}), timeout=30)


@pytest.mark.parametrize("configured_first", [True, False])
def test_install_adds_and_takes_nothing_away(configured_first: bool) -> None:
    """The application's own imports and beat entries stay, whether its configuration is read before or after."""
    app = Celery("own", broker="memory://", set_as_current=False, include=["own.tasks"])
    if configured_first:
        app.conf.beat_schedule = {"own": {"task": "own", "schedule": 1.0}}
        app.conf.imports = ("own.more",)
    else:
        app.config_from_object({"beat_schedule": {"own": {"task": "own", "schedule": 1.0}}, "imports": ("own.more",)})
    bgtasks.install(app, file_types=["own.exports"])
    assert app.conf.imports == ("own.more", "bgtasks.entry", "bgtasks.steps", "bgtasks.sweeps", "own.exports")
    assert app.conf.include == ["own.tasks"]
    assert set(app.conf.beat_schedule) == {
        "own",
        "bgtasks-clean",
        "bgtasks-dispatch",
        "bgtasks-recover",
        "bgtasks-remind",
    }


def test_an_entry_of_the_applications_own_wins() -> None:
    """A deployment that sweeps at another pace says so under our name of the entry."""
    app = Celery("own", broker="memory://", set_as_current=False)
    app.conf.beat_schedule = {"bgtasks-recover": {"task": "bgtasks.recover", "schedule": 99.0}}
    bgtasks.install(app)
    assert app.conf.beat_schedule["bgtasks-recover"]["schedule"] == 99.0


def test_an_app_that_has_nothing_to_do_with_us_is_left_alone() -> None:
    """Importing bgtasks changes no worker of an application that has not installed it."""
    from bgtasks import settings

    app = Celery("foreign", broker="memory://", set_as_current=False)
    assert not settings.is_configured(app)
