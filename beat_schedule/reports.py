"""Recurring exports: a beat entry is a producer like any other."""

from __future__ import annotations

from celery.schedules import crontab

#: Last week's flights, for the office, on Mondays before work. Which days those are is settled when beat asks for the
#: file, in the zone ``tz``; the row keeps them. For a whole week it is the same request: where a second beat, or one
#: that was restarted, asks for it once more, there is one file. (The crontab is in UTC as long as no ``timezone`` is
#: set: at half past ten it is Monday in New York.)
entries = {
    "flights-of-last-week": {
        "task": "bgtasks.request_file",
        "schedule": crontab(hour="10", minute="30", day_of_week="mon"),
        "args": ("flights", {"from_date": "last week", "until_date": "last week"}),
        "kwargs": {
            "requester": "office@example.com",
            "tz": "America/New_York",
            "format": "xlsx",
            "idempotency_key": "flights-of-last-week",
            "once_per": "week",
        },
        "options": {"queue": "bgtasks", "argsrepr": "(hidden)", "kwargsrepr": "(hidden)"},
    },
}
