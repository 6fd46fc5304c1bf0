"""A cursor that the PostgreSQL server fills while its rows are being used, in one round trip.

A server's named cursor waits for each FETCH: a small result takes four round trips, and a big one is computed and
used in turns. libpq's chunked rows mode (since its version 17) hands out what has arrived, and reads no further than
it is asked to: the server waits once the connection's buffers are full.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Self

import psycopg
from psycopg import capabilities

#: Rows that libpq hands out at once.
CHUNK = 500


class StreamingCursor(psycopg.Cursor[Any]):
    """In place of a named cursor. Until it is closed its connection does nothing else."""

    def __init__(self, connection: psycopg.Connection[Any], name: str, **_: Any) -> None:
        super().__init__(connection)
        self._streamed: Iterator[Any] = iter(())

    def execute(self, query: Any, params: Any = None, **_: Any) -> Self:
        """Begin, with a first row, so that the columns are known."""
        rows = self.stream(query, params, size=CHUNK)
        first = list(itertools.islice(rows, 1))
        if not first:
            return super().execute(query, params)  # which knows the columns of no rows as well
        self._rows, self._streamed = rows, itertools.chain(first, rows)
        return self

    def fetchone(self) -> Any:
        """The next row; None: there is none."""
        return next(self._streamed, None)

    def fetchmany(self, size: int = 0) -> list[Any]:
        """So many rows; fewer: those were the last."""
        return list(itertools.islice(self._streamed, size or self.arraysize))

    def fetchall(self) -> list[Any]:
        """All that are left."""
        return list(self._streamed)

    def close(self) -> None:
        """A query that still goes on is cancelled."""
        if (rows := getattr(self, "_rows", None)) is not None:
            rows.close()
        super().close()


def stream(connection: psycopg.Connection[Any]) -> None:
    """Let a connection's named cursors be such ones, where libpq can."""
    if capabilities.has_stream_chunked():
        connection.server_cursor_factory = StreamingCursor  # type: ignore[assignment]
