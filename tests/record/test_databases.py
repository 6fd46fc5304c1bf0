"""What the record needs of its database, on each kind that we support."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError

from bgtasks import database, migrations
from bgtasks.claims import Claim
from bgtasks.database import Database, later
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured
from bgtasks.models import FileRequest
from tests.record.moves import advanced, ask, at_once, claim, end, now

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql_only = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def test_the_clock_is_the_databases(parts: Deployment) -> None:
    """later() is the server's time in UTC, aware, to the millisecond at least, so many seconds from now."""
    with parts.database.reading() as session:
        at, soon, before = session.execute(select(later(), later(90.5), later(-3600))).one()
    assert abs(_utc(at) - datetime.now(UTC)) < timedelta(seconds=5)
    assert (_utc(soon) - _utc(at)).total_seconds() == pytest.approx(90.5, abs=0.01)
    assert (_utc(at) - _utc(before)).total_seconds() == pytest.approx(3600, abs=0.01)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@postgresql_only
def test_the_clock_goes_on_within_a_transaction(parts: Deployment) -> None:
    """now() stands still while a transaction waits for a lock; a lease must count from when it is given."""
    with parts.database.writing() as session:
        first, still = session.execute(select(later(), text("now()"))).one()
        session.execute(text("SELECT pg_sleep(0.05)"))
        second, same = session.execute(select(later(), text("now()"))).one()
    assert still == same
    assert (second - first).total_seconds() >= 0.05


def test_times_come_back_aware_and_in_utc(parts: Deployment) -> None:
    """Whatever the database keeps, a row's times are comparable with datetime.now(UTC)."""
    row = advanced(parts, "attach")
    for moment in (row.requested_at, row.started_at, row.finished_at, row.expires_at, row.dispatch_at):
        assert moment is not None
        assert moment.tzinfo is UTC
    assert not row.has_expired


@sqlite_only
def test_sqlite_keeps_a_write_ahead_log(parts: Deployment) -> None:
    """Readers and a writer don't wait for each other, and a row's history goes with its row."""
    with parts.database.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_many_writers_at_once_wait_for_each_other(parts: Deployment) -> None:
    """None of them fails because another one writes at the same time."""

    def work(number: int) -> str:
        row = ask()
        for _ in range(5):
            row = end(parts, claim(parts, row, f"worker {number}"))
        return row.step

    assert at_once([partial(work, number) for number in range(10)]) == ["tokenize"] * 10


def test_a_long_reader_keeps_no_writer_waiting(parts: Deployment) -> None:
    """While an export streams from the record's own database, requests go on; it keeps its snapshot."""
    ids = {ask().id for _ in range(50)}
    seen = []
    with parts.database.streaming() as connection:
        result = connection.execution_options(yield_per=10).execute(select(FileRequest.id))
        for page in result.partitions():
            seen += [row.id for row in page]
            end(parts, claim(parts, ask()))
    assert len(seen) == len(set(seen)) == 50
    assert set(seen) == ids


@sqlite_only
def test_a_transaction_that_reads_first_may_still_write(parts: Deployment) -> None:
    """A writing session says so when it begins: another one's write in between would make it fail at once."""
    row = ask()
    reached, go_on = threading.Event(), threading.Event()

    def rival() -> None:
        reached.wait()
        go_on.set()
        parts.requests.downloaded(row.id, None, None)

    thread = threading.Thread(target=rival)
    thread.start()
    with parts.database.writing() as session:
        found = session.get_one(FileRequest, row.id)
        reached.set()
        go_on.wait()
        session.execute(FileRequest.__table__.update().values(description=f"{found.downloads} downloads"))
    thread.join()
    after = now(parts, row)
    assert (after.description, after.downloads) == ("0 downloads", 1)


def test_many_may_open_a_new_sqlite_file_at_once(tmp_path: Path) -> None:
    """A worker's children and the web processes all start at the same moment, on a file that is not there yet."""

    def open_new(made: Database) -> int:
        with made.writing() as session:
            return session.scalar(text("SELECT 1")) or 0

    for number in range(5):
        databases = [Database(f"sqlite:///new{number}.db", tmp_path) for _ in range(8)]
        assert at_once([partial(open_new, made) for made in databases]) == [1] * 8
        for made in databases:
            made.engine.dispose()


def test_a_missing_table_says_how_to_make_it(tmp_path: Path) -> None:
    """The error names the command, for reading and for writing."""
    empty = Database("sqlite:///empty.db", tmp_path)
    for session_of in (empty.reading, empty.writing):
        with pytest.raises(ImproperlyConfigured, match="run celery bgtasks migrate"), session_of() as session:
            session.get(FileRequest, ask.__name__)
    empty.engine.dispose()


@postgresql_only
def test_a_missing_table_on_postgresql_says_so_too(parts: Deployment) -> None:
    """The same, where the server words it otherwise."""
    with parts.database.writing() as session:
        session.execute(text("DROP TABLE bgtasks_events, bgtasks_notifications, bgtasks_parts, bgtasks_file_requests"))
    with pytest.raises(ImproperlyConfigured, match="run celery bgtasks migrate"):
        parts.requests.insert({"id": "00000000-0000-0000-0000-000000000000"}, scheduled=False)


@postgresql_only
def test_a_missing_database_is_no_missing_table(parts: Deployment) -> None:
    """Its name may begin with bgtasks_ too, and no migration would help."""
    lost = Database(parts.database.url.set(database="bgtasks_lost"), Path())
    with pytest.raises(OperationalError, match="bgtasks_lost"), lost.reading() as session:
        session.get(FileRequest, "00000000-0000-0000-0000-000000000000")
    lost.engine.dispose()


def test_a_relative_sqlite_file_starts_at_the_root(tmp_path: Path) -> None:
    """Its folder is made."""
    made = Database("sqlite:///var/deep/bgtasks.db", tmp_path)
    migrations.upgrade(made)
    made.engine.dispose()
    assert (tmp_path / "var" / "deep" / "bgtasks.db").is_file()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_is_spoken_with_psycopg_3(scheme: str) -> None:
    """Whichever way its URL is written."""
    made = Database(f"{scheme}://user:secret@localhost/files", Path())
    assert made.engine.url.drivername == "postgresql+psycopg"
    assert made.engine.hide_parameters


def test_a_database_is_opened_once_in_a_process(parts: Deployment, tmp_path: Path) -> None:
    """Exports without a source_url share the record's connections; one with a source_url has its own."""
    assert database.source(None) is database.current() is parts.database
    other = database.source(f"sqlite:///{tmp_path / 'other.db'}")
    assert other is database.source(f"sqlite:///{tmp_path / 'other.db'}")
    assert other is not parts.database
    other.engine.dispose()


def test_a_claim_shows_no_criteria(parts: Deployment) -> None:
    """What a log shows of a row, a claim or a deployment tells nothing of what was asked by whom."""
    row = ask()
    for shown in (repr(row), repr(Claim.of(row)), repr(claim(parts, row))):
        assert "ada@example.com" not in shown
        assert "count" not in shown


def test_one_statement_commits_by_itself(parts: Deployment) -> None:
    """On each database: nothing is open behind it, and nothing is rolled back."""
    seen = ask()
    with parts.database.one_statement() as connection:
        connection.execute(update(FileRequest).values(description="after"))
    assert now(parts, seen).description == "after"
