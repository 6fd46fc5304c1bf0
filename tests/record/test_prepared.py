"""Statements that go to the driver itself: with SQLAlchemy's connections, types and errors all the same."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured
from bgtasks.models import Event, FileRequest
from bgtasks.prepared import Prepared
from bgtasks.requests.changes import ENTRY, ROW
from bgtasks.stopping import Stopping
from tests.record.moves import ask, claim, end, now

ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
RENAMING = (
    update(ROW).values(description=bindparam("words")).where(ROW.c.id == bindparam("its_id", type_=ROW.c.id.type))
)


def prepared(parts: Deployment, statement: object, *given: str) -> Prepared:
    """A statement for the test's database."""
    return Prepared(statement, given, (), parts.database.engine.dialect)  # type: ignore[arg-type]


@pytest.fixture
def renaming(parts: Deployment) -> Prepared:
    """A statement that gives a request a description."""
    return prepared(parts, RENAMING, "words", "its_id")


def test_values_are_of_the_types_of_the_columns(parts: Deployment) -> None:
    """Those that a driver does not take, and those that it returns otherwise."""
    values = {"criteria": {"a": [1, "é"]}, "columns": None, "expires_at": datetime.now(UTC)}
    row = ask()
    setting = update(ROW).where(ROW.c.id == bindparam("its_id", type_=ROW.c.id.type))
    setting = setting.values({name: bindparam(f"new_{name}", type_=ROW.c[name].type) for name in values})
    given = {"its_id": row.id, **{f"new_{name}": value for name, value in values.items()}}
    columns = [ROW.c[name] for name in values]
    statement = Prepared(setting.returning(*columns), given, columns, parts.database.engine.dialect)
    with parts.database.prepared() as driver:
        assert driver.execute(statement, given) == values
    with parts.database.reading() as session:
        found = session.execute(select(*columns).where(ROW.c.id == row.id)).mappings().one()
        assert dict(found) == values


def test_an_error_is_one_of_sqlalchemys(parts: Deployment) -> None:
    """With the statement, and without its parameters; the connection is of use afterwards."""
    adding = prepared(parts, insert(ENTRY).values(request_id=bindparam("its_id"), kind="step"), "its_id")
    with pytest.raises(IntegrityError) as failed, parts.database.prepared() as driver:
        driver.execute(adding, {"its_id": (nobody := str(uuid.uuid4()))})
    assert "bgtasks_events" in (failed.value.statement or "")
    assert failed.value.params is None
    assert not failed.value.connection_invalidated
    assert nobody not in str(failed.value).split("DETAIL")[0]
    assert ask().state == "pending"


def test_a_table_that_is_missing_is_called_by_its_remedy(parts: Deployment) -> None:
    """As everywhere else."""
    with parts.database.writing() as session:
        session.execute(text("ALTER TABLE bgtasks_events RENAME TO gone"))
    with pytest.raises(ImproperlyConfigured, match="celery bgtasks migrate"):
        ask()


def test_an_error_undoes_the_block_on_sqlite(parts: Deployment, renaming: Prepared) -> None:
    """There a change and its entry in the history are two statements; on PostgreSQL they are one."""
    row = ask()
    broken = prepared(parts, text("INSERT INTO nothing VALUES (1)"))
    with pytest.raises((OperationalError, ProgrammingError)), parts.database.prepared() as driver:
        driver.execute(renaming, {"words": "new", "its_id": row.id})
        driver.execute(broken, {})
    assert now(parts, row).description == ("new" if parts.database.is_postgresql else "")
    end(parts, claim(parts, row))


def test_a_connection_that_a_signal_has_interrupted_is_not_used_again(parts: Deployment, renaming: Prepared) -> None:
    """Nobody knows what it is in the middle of."""
    row, used = ask(), []
    with pytest.raises(Stopping), parts.database.prepared() as driver:
        driver.execute(renaming, {"words": "new", "its_id": row.id})
        used.append(driver)
        raise Stopping
    with parts.database.engine.connect() as connection:
        assert connection.connection.dbapi_connection is not used[0].cursor.connection
    assert now(parts, row).state == "pending"


@ON_POSTGRESQL
def test_each_statement_commits_by_itself_on_postgresql(parts: Deployment, renaming: Prepared) -> None:
    """And the connection is given back as it was: the next one to use it begins a transaction."""
    row = ask()
    with parts.database.prepared() as driver:
        driver.execute(renaming, {"words": "new", "its_id": row.id})
        assert now(parts, row).description == "new"
    with parts.database.writing() as session:
        session.execute(update(FileRequest).values(description="other"))
        session.rollback()
    assert now(parts, row).description == "new"


@ON_POSTGRESQL
def test_an_export_leaves_the_statements_prepared(parts: Deployment, renaming: Prepared) -> None:
    """psycopg has a connection forget them all after a ROLLBACK: every step would be planned anew."""
    row = ask()
    for _ in range(7):  # psycopg prepares what it has seen five times
        with parts.database.prepared() as driver:
            driver.execute(renaming, {"words": "new", "its_id": row.id})
    with parts.database.streaming() as connection:
        assert list(connection.execute(select(Event.kind))) == [("requested",)]
        known = connection.exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars().all()
    assert any("description" in statement for statement in known)
    with parts.database.streaming() as connection:
        again = connection.exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars().all()
    assert any("description" in statement for statement in again)
