"""What Celery shows of a configuration has nothing secret in it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.beat import PersistentScheduler

from bgtasks import censoring

MARK = "MARKED"


@pytest.mark.parametrize(
    "shown",
    [
        {"bgtasks_base_url": f"http://files.example.com:{MARK}"},
        {"bgtasks_smtp_url": f"smtp://mailer:{MARK}@mail.example.com"},
        {"bgtasks_store_url": f"s3://{MARK}@bucket"},
        {"bgtasks_database_url": f"postgresql://exports:{MARK}@db/exports"},
        {"bgtasks_default_key": [MARK, MARK]},
        {"beat_schedule": {"report": {"task": "bgtasks.request_file", "args": (MARK, {"day": MARK}), "schedule": 1.0}}},
        {"beat_schedule": {"report": {"task": "bgtasks.request_file", "kwargs": {"requester": MARK}, "schedule": 1.0}}},
    ],
)
def test_reports_hide_secrets_and_what_is_asked_for(shown: dict[str, Any]) -> None:
    """In ``celery report``, and so wherever Celery shows its settings."""
    app = Celery("censoring", set_as_current=False)
    app.conf.update(shown)
    assert MARK not in app.bugreport()
    assert censoring.MASK in app.bugreport()


@pytest.mark.parametrize("name", ["bgtasks_base_url", "bgtasks_login_url", "CELERY_BGTASKS_BASE_URL"])
def test_a_password_that_must_not_be_there_is_hidden(name: str) -> None:
    """Nothing starts with it, and whoever asks why shows a report to others."""
    shown = censoring._censored({name: f"https://ada:{MARK}@files.example.com/app"})
    assert (MARK in str(shown), "files.example.com/app" in shown[name]) == (False, True)


def test_beat_tells_its_log_that_it_works_and_not_for_whom(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """At the level DEBUG it would write down its schedule, with what recurring exports ask for."""
    app = Celery("censoring", set_as_current=False)
    kwargs = {"requester": MARK}
    app.conf.update(beat_schedule={"report": {"task": "bgtasks.request_file", "kwargs": kwargs, "schedule": 1.0}})
    with caplog.at_level(logging.DEBUG, "celery.beat"):
        scheduler = PersistentScheduler(app, schedule_filename=str(tmp_path / "schedule"))
        assert MARK in repr(scheduler.schedule)
        scheduler._do_sync()
        scheduler.close()
    assert {*caplog.messages} == {"beat: Synchronizing schedule..."}


def test_a_prefix_of_an_applications_own_changes_nothing() -> None:
    """Django's settings are called ``CELERY_BGTASKS_SMTP_URL``."""
    shown = censoring._censored({"CELERY_BGTASKS_SMTP_URL": MARK, "BGTASKS_LEASE": 60, "bgtasks_smtp_url": None})
    assert shown == {"CELERY_BGTASKS_SMTP_URL": censoring.MASK, "BGTASKS_LEASE": 60, "bgtasks_smtp_url": None}


def test_the_rest_is_shown() -> None:
    """An operator wants to see settings, and when other tasks run."""
    app = Celery("censoring", set_as_current=False)
    app.conf.update(bgtasks_base_url="https://files.example.com/app/")
    app.conf.update(bgtasks_lease=61, beat_schedule={"own": {"task": "own.task", "args": ("shown",), "schedule": 1.0}})
    assert "bgtasks_lease: 61" in app.bugreport()
    assert "shown" in app.bugreport()
    assert "https://files.example.com/app/" in app.bugreport()
