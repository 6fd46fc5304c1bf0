"""What a change costs the database: a step must not wait longer for its record than for its work."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, inspect, text

from bgtasks import engines, toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.patience import persistently
from bgtasks.states import State
from tests.record.moves import advanced, ask, claim, end, now, told
from tests.support.listening import listening

HASTY = "set_config"
ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@contextmanager
def talk(parts: Deployment) -> Iterator[list[str]]:
    """All that the database is told meanwhile, as the driver hears it."""
    said: list[str] = []

    class Telling(psycopg.Cursor[Any]):
        def execute(self, query: Any, *given: Any, **options: Any) -> Any:
            said.append(str(query))
            return super().execute(query, *given, **options)

    def overhear(connection: Any, *_: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(said.append)
        else:
            connection.cursor_factory = Telling

    def leave_alone(connection: Any, *_: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(None)
        else:
            connection.cursor_factory = psycopg.Cursor

    with listening(parts.database.engine, checkout=overhear, checkin=leave_alone):
        yield said


@pytest.fixture
def statements(parts: Deployment) -> int:
    """How many statements a change with an entry in the history takes."""
    return 1 if parts.database.is_postgresql else 2


def test_a_step_begins_and_ends_with_one_statement_each(parts: Deployment, statements: int) -> None:
    """On PostgreSQL each is one round trip, with no transaction around it; the history is in the same statement."""
    row = ask()
    with talk(parts) as said:
        held = claim(parts, row)
        begun = [text for text in said if text.startswith(("WITH", "UPDATE", "INSERT", "SELECT"))]
        end(parts, held)
    written = [text for text in said if text.startswith(("WITH", "UPDATE", "INSERT", "SELECT"))]
    assert (len(begun), len(written)) == (1, 1 + statements)
    assert told(parts, row) == ["requested", "step"]


def test_a_request_is_stored_with_one_statement(parts: Deployment, statements: int) -> None:
    """What has no rule of its file type to see to needs no transaction on PostgreSQL."""
    with talk(parts) as said:
        row = ask()
    assert len([text for text in said if text.startswith(("WITH", "INSERT", "SELECT"))]) == statements
    assert told(parts, row) == ["requested"]


def test_a_statement_is_built_once(parts: Deployment) -> None:
    """The second request's steps find each of their statements prepared."""
    advanced(parts, "attach")
    built: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bgtasks.requests.working.changing", lambda *_, **__: built.append(1))
        patch.setattr("bgtasks.requests.writer.changing", lambda *_, **__: built.append(1))
        advanced(parts, "attach")
    assert built == []


@ON_POSTGRESQL
def test_what_would_be_done_once_more_waits_for_no_disk(parts: Deployment) -> None:
    """The steps before the one that writes are over in milliseconds: only hours of work, the fence that is in an
    object's key, and what a requester is told of must outlast a crash. (SQLite waits in none of them.)"""
    hasty: dict[str, tuple[bool, bool]] = {}
    row = ask()
    for step in ("fetch_criteria", "build_items", "write_bytes", "attach", "tokenize", "notify"):
        with talk(parts) as said:
            held = claim(parts, row)
            row = end(parts, held)
        hasty[step] = (HASTY in said[0], HASTY in said[-1])
    assert hasty == {
        "fetch_criteria": (True, True),
        "build_items": (True, True),
        "write_bytes": (False, False),
        "attach": (True, False),
        "tokenize": (True, False),
        "notify": (False, False),
    }


@ON_POSTGRESQL
def test_a_claim_by_hand_waits_for_the_disk(parts: Deployment) -> None:
    """It is one of ``attach``, and writes an object."""
    row = toolbox.add_request({"count": 3}, "numbers")
    with talk(parts) as said:
        parts.requests.take(row, "operator")
    assert [HASTY in text for text in said if "UPDATE" in text] == [False]


def test_the_row_of_a_change_is_like_one_that_was_read(parts: Deployment) -> None:
    """All columns are there, of the same types, and a session may take it in without inserting it anew."""
    held = claim(parts, ask())
    seen = held.file_request
    assert inspect(seen).detached
    assert {name: getattr(seen, name) for name in database_columns()} == {
        name: getattr(now(parts, seen), name) for name in database_columns()
    }
    with parts.database.writing() as session:
        session.add(seen)
        assert session.get(FileRequest, seen.id) is seen
    assert now(parts, seen).state == State.RUNNING


def database_columns() -> list[str]:
    """The names of a request's columns."""
    return list(FileRequest.__table__.columns.keys())


@ON_POSTGRESQL
def test_within_a_step_a_connection_is_not_tried_again(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was used just now is there; one that lay idle is tried, and so is each that somebody reads by."""
    pings: list[int] = []
    do_ping = parts.database.engine.dialect.do_ping
    monkeypatch.setattr(parts.database.engine.dialect, "do_ping", lambda c: pings.append(1) or do_ping(c))
    end(parts, claim(parts, row := ask()))
    before = len(pings)
    held = claim(parts, now(parts, row))
    assert len(pings) == before + 1
    monkeypatch.setattr(engines, "IDLE", 0.0)
    end(parts, held)
    assert len(pings) == before + 2


@ON_POSTGRESQL
def test_a_step_repeats_what_a_cut_connection_has_swallowed(parts: Deployment) -> None:
    """Whoever reads never meets one."""
    held = claim(parts, ask())
    _cut(parts)
    assert now(parts, held.file_request).state == State.RUNNING
    _cut(parts)
    assert persistently(lambda: end(parts, held)).step == "fetch_criteria"


def _cut(parts: Deployment) -> None:
    """End the server's side of all of the pool's connections."""
    other = create_engine(parts.database.url, isolation_level="AUTOCOMMIT")
    with other.connect() as operator:
        own = text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :n AND pid <> pg_backend_pid()"
        )
        operator.execute(own, {"n": parts.database.url.database})
    other.dispose()
