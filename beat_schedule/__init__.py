"""The periodic work of the reference deployment."""

from __future__ import annotations

from beat_schedule import reports, sweeps

#: What ``celery beat`` runs; celeryconfig.py hands it on.
beat_schedule = {**sweeps.entries, **reports.entries}
