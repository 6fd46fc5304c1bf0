"""The version before migration 0004, as it was recorded: its messages, and its statements in one request's life.

It is data, and not to be changed when the code is: deployments have it running while they are upgraded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from bgtasks import migrations
from bgtasks.database import Database
from bgtasks.engines import WRITES

REVISION = "0003"

_recorded = json.loads((Path(__file__).parent / "before_0004.json").read_text())

#: The request's id, the digest of its file (three numbers), and the key of its object.
ID, SHA256 = _recorded["id"], _recorded["sha256"]
OBJECT_KEY = f"{ID}/3"
#: ``request_file`` for flights, and the first link of such a request's chain, as they are in the queues.
ASKING, [LINK] = _recorded["messages"]["bgtasks"][0], _recorded["messages"]["files.flights"]

#: How a statement that must meet a row begins.
WRITING = ("UPDATE", "INSERT", "WITH changed")


def go_back(database: Database) -> None:
    """Give a database the tables that this version has made."""
    migrations.downgrade(database, REVISION)


def act(database: Database, what: str) -> None:
    """Do what this version does: ``asked`` stores the request, and a step's name does that step.

    :raises AssertionError: where one of its statements meets no row.
    """
    life = _recorded["lives"][database.engine.dialect.name]
    for number, values in life[what]:
        statement = _recorded["statements"][number]
        with database.engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
            result = connection.exec_driver_sql(statement, _given(values))
            met = len(result.fetchall()) if result.returns_rows else result.rowcount
            assert met == 1 or not statement.startswith(WRITING), f"{what}: {statement[:80]} met {met} rows"


def _given(values: Any) -> Any:
    """A statement's parameters, as its driver takes them."""
    if isinstance(values, list):
        return tuple(values)
    return {name: Jsonb(value["json"]) if isinstance(value, dict) else value for name, value in values.items()}
