"""When each sweep ran for the last time: without beat nothing else would tell that none does."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from bgtasks import database
from bgtasks.database import later
from bgtasks.models import Sweep

logger = logging.getLogger(__name__)


def ran(name: str) -> None:
    """A sweep has come to its end. Whatever keeps this from being noted is no fault of the sweep's."""
    try:
        _note(name)
    except Exception as error:
        logger.warning("that %s ran can't be noted: %s", name, type(error).__name__)


def _note(name: str) -> None:
    target = database.current()
    insert: Any = (postgresql if target.is_postgresql else sqlite).insert(Sweep)
    now = {"ran_at": later()}
    with target.one_statement() as connection:
        connection.execute(insert.values(name=name, **now).on_conflict_do_update(index_elements=["name"], set_=now))
