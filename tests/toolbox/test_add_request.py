"""``toolbox.add_request``: what is stored, and when its chain is published."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from bgtasks import publishing, registry, toolbox
from bgtasks.database import Database
from bgtasks.deployment import Deployment
from bgtasks.errors import InvalidRequestId, UnknownFileType
from bgtasks.models import FileRequest
from bgtasks.states import State
from tests.support.file_types import Numbers


class Person:
    """An application's own user."""

    def __str__(self) -> str:
        return "ada@example.com"


class Chosen(BaseModel):
    since: date
    carriers: set[str] = {"UA"}


class Base(DeclarativeBase):
    """An application's own tables."""


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def published(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the requests whose chain is published, each time; the broker, empty at first, has them as well."""
    with parts.app.connection_for_write() as connection:
        connection.default_channel.queue_purge("files.numbers")
    ids: list[str] = []
    publish = publishing.publish

    def record(file_request: FileRequest) -> bool:
        ids.append(file_request.id)
        return publish(file_request)

    monkeypatch.setattr(publishing, "publish", record)
    return ids


@pytest.fixture
def engine(parts: Deployment) -> Iterator[Engine]:
    """An application's own connections to the database that the record lives in."""
    made = Database(parts.database.url, Path()).engine  # sqlite3 by itself begins no transaction for a savepoint
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def queued(parts: Deployment) -> int:
    """How many messages wait in the file type's queue."""
    with parts.app.connection_for_read() as connection:
        return int(connection.default_channel.queue_declare("files.numbers", passive=False).message_count)


def add(session: Any, **more: Any) -> FileRequest:
    """A scheduled request within a session's transaction."""
    return toolbox.add_request({"count": 1}, "numbers", session=session, schedule=True, **more)


def stored(parts: Deployment, asked: FileRequest) -> FileRequest:
    """The row as it is."""
    row = parts.requests.get(asked.id)
    assert row is not None
    return row


def test_everything_has_a_default(parts: Deployment, published: list[str]) -> None:
    """A request may say nothing of itself; it is stored, and nothing else happens."""
    row = stored(parts, toolbox.add_request())
    assert (row.criteria, row.file_type, row.requester, row.requester_email) == ("", "", None, None)
    assert (row.content_type, row.description, row.language, row.timezone) == ("", "", None, None)
    assert (row.format, row.filename, row.state, row.dispatch_at) == ("", "", State.PENDING, None)
    assert abs((row.requested_at - datetime.now(UTC)).total_seconds()) < 5
    assert published == []


def test_what_is_said_is_stored(parts: Deployment) -> None:
    """Each argument has its column."""
    id = str(uuid.uuid4())
    asked = toolbox.add_request(
        "a plain string", "numbers", "ada", "text/csv", "Some numbers", "de", "Europe/Zurich",
        format="xlsx", filename="mine.xlsx", requester_email="ada@example.com", id=id.upper(),
    )  # fmt: skip
    row = stored(parts, asked)
    assert (row.id, row.criteria, row.file_type, row.requester) == (id, "a plain string", "numbers", "ada")
    assert (row.content_type, row.description, row.language) == ("text/csv", "Some numbers", "de")
    assert (row.timezone, row.format, row.filename) == ("Europe/Zurich", "xlsx", "mine.xlsx")
    assert row.requester_email == "ada@example.com"


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ("", ""),
        ("year=2013", "year=2013"),
        ({"since": date(2013, 1, 1), "n": [1, None]}, {"since": "2013-01-01", "n": [1, None]}),
        (Chosen(since=date(2013, 1, 1)), {"since": "2013-01-01", "carriers": ["UA"]}),
        ([1, "zwei", "drei ☃"], [1, "zwei", "drei ☃"]),
        (None, None),
    ],
)
def test_criteria_are_kept_as_json(parts: Deployment, criteria: Any, expected: Any) -> None:
    """A string, a model, or data with dates in it."""
    assert stored(parts, toolbox.add_request(criteria)).criteria == expected


@pytest.mark.parametrize(
    ("requester", "email", "name", "address"),
    [
        (None, None, None, None),
        ("", None, "", None),
        ("ada", None, "ada", None),
        (42, None, "42", None),
        (Person(), None, "ada@example.com", "ada@example.com"),
        ("ada@example.com", "other@example.com", "ada@example.com", "other@example.com"),
        ("ada", "no address", "ada", None),
        ("a@b\nBcc: eve@example.com", None, "a@b\nBcc: eve@example.com", None),
        ("ada@example.com, eve@example.com", None, "ada@example.com, eve@example.com", None),
    ],
)
def test_a_requester_is_a_string_and_told_where_that_is_an_address(
    parts: Deployment, requester: Any, email: str | None, name: str | None, address: str | None
) -> None:
    """Whatever object it was; nothing is guessed to be an address."""
    row = stored(parts, toolbox.add_request(requester=requester, requester_email=email))
    assert (row.requester, row.requester_email) == (name, address)


def test_an_id_must_be_a_uuid(parts: Deployment) -> None:
    """It is the task id of request_file, and part of the object's key."""
    with pytest.raises(InvalidRequestId):
        toolbox.add_request(id="../../etc")


def test_a_scheduled_request_is_published(parts: Deployment, published: list[str]) -> None:
    """At once, where there is no transaction of the caller's to wait for."""
    asked = toolbox.add_request({"count": 1}, "numbers", schedule=True)
    assert published == [asked.id]
    assert queued(parts) == 1
    assert stored(parts, asked).dispatch_at is not None


@pytest.mark.parametrize("in_session", [True, False])
@pytest.mark.parametrize("name", ["", "no_such_type"])
def test_what_nobody_can_make_is_not_scheduled(parts: Deployment, engine: Engine, name: str, in_session: bool) -> None:
    """An unknown file type is refused before anything is stored; by hand it may be any name."""
    with Session(engine) as session, pytest.raises(UnknownFileType):
        toolbox.add_request("x", name, schedule=True, session=session if in_session else None)
    assert list(FileRequest.to_handle()) == []
    toolbox.add_request("x", name)
    assert len(list(FileRequest.to_handle())) == 1


# -- in a transaction of the caller's -------------------------------------------------------------


def test_a_commit_publishes_once(parts: Deployment, engine: Engine, published: list[str]) -> None:
    """Row and order appear together; the chain follows, and a later commit does not repeat it."""
    with Session(engine) as session:
        session.add(Order(id=1))
        asked = add(session)
        session.flush()
        assert parts.requests.get(asked.id) is None
        assert published == []
        session.commit()
        assert published == [asked.id]
        session.add(Order(id=2))
        session.commit()
    assert published == [asked.id]
    assert queued(parts) == 1
    assert stored(parts, asked).dispatch_at is not None


def test_a_request_that_is_not_scheduled_is_not_published(
    parts: Deployment, engine: Engine, published: list[str]
) -> None:
    """It is only stored within the transaction."""
    with Session(engine) as session:
        toolbox.add_request({"count": 1}, "numbers", session=session)
        session.commit()
    assert published == []
    assert len(list(FileRequest.to_handle())) == 1


def test_a_fault_of_a_file_type_does_not_look_like_one_of_the_commit(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, published: list[str]
) -> None:
    """The rows are stored by then, and those of others are published all the same."""

    class Undecided(Numbers):
        file_type = "undecided"

        def get_queue(self, criteria: Any = None, count: int | None = None) -> str:
            raise LookupError

    registry.register(Undecided)
    publish = publishing.publish
    monkeypatch.setattr(publishing, "publish", lambda row: registry.get(row.file_type)().get_queue() and publish(row))
    with Session(engine) as session:
        toolbox.add_request({"count": 1}, "undecided", session=session, schedule=True)
        asked = add(session)
        session.commit()
    assert published == [asked.id]


@pytest.mark.parametrize("how", ["rollback", "close"])
def test_a_rollback_publishes_nothing(parts: Deployment, engine: Engine, published: list[str], how: str) -> None:
    """Nor does the session's next commit."""
    with Session(engine) as session:
        asked = add(session)
        getattr(session, how)()
        session.add(Order(id=1))
        session.commit()
    assert published == []
    assert parts.requests.get(asked.id) is None


def test_a_released_savepoint_publishes_nothing_yet(parts: Deployment, engine: Engine, published: list[str]) -> None:
    """Only the outermost commit counts."""
    with Session(engine) as session:
        with session.begin_nested():
            with session.begin_nested():
                asked = add(session)
            assert published == []
        assert published == []
        session.commit()
    assert published == [asked.id]


def test_what_a_savepoint_rolled_back_is_not_published(parts: Deployment, engine: Engine, published: list[str]) -> None:
    """What was asked for outside it is."""
    with Session(engine) as session:
        kept = add(session)
        savepoint = session.begin_nested()
        lost = add(session)
        savepoint.rollback()
        later = add(session)
        session.commit()
    assert published == [kept.id, later.id]
    assert parts.requests.get(lost.id) is None


def test_a_rollback_after_a_released_savepoint_publishes_nothing(
    parts: Deployment, engine: Engine, published: list[str]
) -> None:
    """A release is no commit."""
    with Session(engine) as session:
        with session.begin_nested():
            add(session)
        session.rollback()
    assert published == []


@pytest.mark.parametrize("mode", ["conditional_savepoint", "control_fully", "create_savepoint", "rollback_only"])
@pytest.mark.parametrize("commits", [True, False])
def test_a_session_that_joined_a_transaction_publishes_after_that_one(
    parts: Deployment, engine: Engine, published: list[str], mode: Any, commits: bool
) -> None:
    """The session's own commit commits nothing: the connection's does, and a rollback of it publishes nothing."""
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode=mode) as session:
            asked = add(session)
            session.commit()
        if mode != "control_fully":
            assert published == []
            outer.commit() if commits else outer.rollback()
    assert published == ([asked.id] if commits or mode == "control_fully" else [])
    assert queued(parts) == len(published)
    with engine.connect():
        pass  # the same connection again: it has nothing more to publish
    assert len(published) <= 1


def test_a_session_on_a_connection_of_its_own_publishes_at_once(
    parts: Deployment, engine: Engine, published: list[str]
) -> None:
    """There was no transaction to join."""
    with engine.connect() as connection:
        with Session(connection) as session:
            asked = add(session)
            session.commit()
        assert published == [asked.id]


def test_a_scoped_session_is_a_session(parts: Deployment, engine: Engine, published: list[str]) -> None:
    """As web frameworks offer it: only the one that asked is watched."""
    sessions = scoped_session(sessionmaker(engine))
    asked = add(sessions)
    with sessions.session_factory() as other:
        if engine.dialect.name == "postgresql":
            other.add(Order(id=1))
        other.commit()
    assert published == []
    sessions.commit()
    sessions.remove()
    assert published == [asked.id]


def test_the_request_stays_usable_after_the_session(parts: Deployment, engine: Engine) -> None:
    """It is not the session's: neither expired by its commit, nor written by its flush."""
    with Session(engine) as session:
        asked = toolbox.add_request("by hand", session=session)
        asked.description = "mine"
        session.commit()
    assert asked.criteria == "by hand"
    assert stored(parts, asked).description == ""
    assert toolbox.attach_file(asked, b"done").state == State.READY


def test_one_id_twice_in_opposite_order_deadlocks_nobody(parts: Deployment, engine: Engine) -> None:
    """The second one finds the first one's row."""
    id = str(uuid.uuid4())
    first = toolbox.add_request("one", id=id)
    with Session(engine) as session:
        second = toolbox.add_request("two", id=id, session=session)
        assert (second.id, second.criteria) == (first.id, "one")
        session.commit()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_commit_that_succeeded_does_not_fail_afterwards(
    parts: Deployment, engine: Engine, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the request can't be read for publishing, the caller's commit stands, and the sweep publishes."""
    parts.database.engine.dispose()
    with Session(engine) as session:
        asked = add(session)
        with monkeypatch.context() as away:
            away.setattr(parts.database.engine.dialect, "connect", _refuse)
            session.commit()
    assert published == []
    assert stored(parts, asked).dispatch_at is not None


def _refuse(*_: Any, **__: Any) -> Any:
    raise sqlite3.OperationalError("unable to open database file")
