"""Recurring exports: a beat entry is a producer like any other."""

from __future__ import annotations

from celery.schedules import crontab

#: The summer of 2013, for the office, on Mondays before work.
entries = {
    "flights-of-july": {
        "task": "bgtasks.request_file",
        "schedule": crontab(hour="5", minute="30", day_of_week="mon"),
        "args": ("flights", {"from_date": "2013-07-01", "until_date": "2013-07-31"}),
        "kwargs": {"requester": "office@example.com", "format": "xlsx"},
        "options": {"queue": "bgtasks", "argsrepr": "(hidden)", "kwargsrepr": "(hidden)"},
    },
}
