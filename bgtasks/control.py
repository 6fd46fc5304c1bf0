"""``celery inspect bgtasks_ping``: what workers answer when somebody wants to know whether they are of one mind.

Imported in workers alone: Celery's module has half of a worker in it. What runs here runs in a worker's main process,
which must not talk to the database.
"""

from __future__ import annotations

from typing import Any

from celery.worker.control import inspect_command

from bgtasks import particulars, settings

PING = "bgtasks_ping"


@inspect_command(name=PING)
def ping(state: Any, **_: Any) -> dict[str, Any]:
    """Time, version, file types, and marks of the key, the database and the stores (bgtasks)."""
    return particulars.of(settings.current(state.app))
