"""Whether the work goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab
from sqlalchemy import delete, update

from bgtasks import database, sweeps, toolbox
from bgtasks.deployment import Deployment
from bgtasks.doctor import Level
from bgtasks.models import Event, FileRequest, Sweep
from bgtasks.states import EventKind, State
from bgtasks.sweeps import noting
from tests.conftest import new_postgresql
from tests.doctor.conftest import Examine
from tests.support.divided import alter_part, fan_out
from tests.support.handmade import alter

NOW = datetime.now(UTC)


def ran(parts: Deployment, **ago: float) -> None:
    """The sweeps ran so many seconds ago; those that are not named never did."""
    with parts.database.writing() as session:
        session.execute(delete(Sweep))
        now = datetime.now(UTC)
        session.add_all(Sweep(name=name, ran_at=now - timedelta(seconds=seconds)) for name, seconds in ago.items())


def of_late(**ago: float) -> dict[str, float]:
    """All of them ran just now, but for these."""
    return {**dict.fromkeys(sweeps.SWEEPS, 1.0), **ago}


def asked(parts: Deployment, **values: Any) -> None:
    """Somebody has asked for a file, and this is what has become of it."""
    row = toolbox.add_request("", "numbers", "ada")
    with parts.database.writing() as session:
        session.execute(update(FileRequest).where(FileRequest.id == row.id).values(values))


def test_a_sweep_that_runs_is_noted(app: Celery, parts: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    """Each time; whatever keeps it from being noted is no fault of the sweep's."""
    for _ in range(2):
        assert app.tasks["bgtasks.recover"].apply().successful()
    with parts.database.reading() as session:
        (sweep,) = session.query(Sweep).all()
    assert (sweep.name, datetime.now(UTC) - sweep.ran_at < timedelta(minutes=1)) == ("recover", True)
    with parts.database.one_transaction() as connection:
        connection.exec_driver_sql("DROP TABLE bgtasks_sweeps")
    assert app.tasks["bgtasks.recover"].apply().successful()
    assert "that recover ran can't be noted: " in caplog.text


def test_a_task_that_is_no_sweep_is_not_noted(app: Celery, parts: Deployment) -> None:
    """It goes to the same queue."""
    claim = f"{'0' * 8}-0000-4000-8000-{'0' * 12}:numbers:1"
    app.tasks["bgtasks.recover_lost"].apply((claim, "delivery", False))
    with parts.database.reading() as session:
        assert session.query(Sweep).all() == []


def test_sweeps_that_run(examine: Examine, parts: Deployment) -> None:
    """And one whose first turn is still to come."""
    for name in sweeps.SWEEPS:
        noting.ran(name)
    assert examine("sweeps").level == Level.OK
    ran(parts, dispatch=5, recover=5)
    told = examine("sweeps")
    assert (told.level, "clean has not run yet; its turn comes every 10 minutes" in told.said) == (Level.WARNING, True)


def test_sweeps_that_do_not_run(examine: Examine, parts: Deployment) -> None:
    """Never, or not for long: beat is missing, or a worker."""
    told = examine("sweeps")
    assert (told.level, "none has run yet" in told.said) == (Level.WARNING, True)  # a new deployment
    asked(parts, requested_at=NOW - timedelta(hours=1))
    told = examine("sweeps")
    assert (told.level, told.said.count("has never run")) == (Level.FAULT, len(sweeps.SWEEPS))
    assert "celery beat" in told.said
    ran(parts, **of_late(dispatch=1_025, clean=1_700))
    told = examine("sweeps")
    assert "dispatch ran 17 minutes ago, and should every 10 s" in told.said
    assert len(told.findings) == 1


@pytest.mark.parametrize(("schedule", "level"), [(5_000, Level.OK), (crontab(hour="3"), Level.OK), (10, Level.FAULT)])
def test_sweeps_on_a_schedule_of_ones_own(examine: Examine, parts: Deployment, schedule: Any, level: Level) -> None:
    """It is the app's own that counts."""
    ran(parts, **of_late(dispatch=1_000))
    told = examine("sweeps", beat_schedule={"mine": {"task": "bgtasks.dispatch", "schedule": schedule}})
    assert told.level == level


#: What is strange about a request, and what is said of it.
STRANGE: list[tuple[dict[str, Any], Level, str]] = [
    ({"dispatch_at": NOW + timedelta(60)}, Level.OK, "none waits"),
    ({"dispatch_at": NOW + timedelta(60), "requested_at": NOW - timedelta(hours=3)}, Level.WARNING, "over an hour"),
    ({"dispatch_at": NOW - timedelta(hours=1)}, Level.FAULT, "should have been dispatched again (numbers;"),
    ({"leased_by": "x", "leased_until": NOW - timedelta(hours=1)}, Level.FAULT, "held by workers that are gone"),
    (
        {
            "leased_by": "x",
            "leased_until": NOW + timedelta(1),
            "state": State.RUNNING,
            "started_at": NOW - timedelta(1),
        },
        Level.WARNING,
        "over six hours",
    ),
    ({"dispatch_at": NOW + timedelta(60), "file_type": "gone"}, Level.FAULT, "does not know: gone"),
    ({"requested_at": NOW - timedelta(hours=3)}, Level.OK, "none waits"),  # its caller handles it
    ({"dispatch_at": NOW - timedelta(hours=1), "state": State.CANCELLED}, Level.OK, "none waits"),
]


@pytest.mark.parametrize(("values", "level", "said"), STRANGE)
def test_requests(examine: Examine, parts: Deployment, values: dict[str, Any], level: Level, said: str) -> None:
    """Those that wait or run for suspiciously long, how many they are, and of which types."""
    asked(parts, **values)
    told = examine("requests")
    assert (told.level, said in told.said) == (level, True), told.said


WAITS, WRITES = {"dispatch_at": NOW + timedelta(60)}, {"leased_by": "x", "leased_until": NOW + timedelta(1)}
LOST, GONE = ({name: NOW - timedelta(hours=1)} for name in ("dispatch_at", "leased_until"))
#: The same of two parts; the third one of their request is done.
STRANGE_PARTS: list[tuple[tuple[dict[str, Any], dict[str, Any]], Level, str]] = [
    ((WRITES, WAITS), Level.OK, "none waits"),
    ((WRITES, LOST), Level.FAULT, "have parts that should have been dispatched again (numbers;"),
    ((WRITES, {**WRITES, **GONE}), Level.FAULT, "have parts that are held by workers that are gone (numbers;"),
    ((WAITS, WAITS), Level.WARNING, "nobody has done anything for over an hour (numbers;"),
]


@pytest.mark.parametrize(("values", "level", "said"), STRANGE_PARTS)
def test_parts(examine: Examine, parts: Deployment, values: Any, level: Level, said: str) -> None:
    """While a request's parts are out, they are what waits and what is held; one that is written is well."""
    row = fan_out(parts)
    for number, stands in enumerate((*values, {"object_key": "there"})):
        alter_part(parts, row, number, **{"dispatch_at": None, **stands})
    with parts.database.writing() as session:
        session.execute(update(Event).where(Event.request_id == row.id).values(at=NOW - timedelta(hours=2)))
        session.add(Event(request_id=row.id, kind=EventKind.DISPATCHED))  # which has changed nothing
    told = examine("requests")
    assert (told.level, said in told.said) == (level, True), told.said
    alter(parts, row, file_type="gone")
    assert "does not know: gone" in examine("requests").said
    alter(parts, row, parts_total=None, parts_done=None)  # it was retried, and has others soon
    assert "have parts" not in examine("requests").said
    alter(parts, row, state=State.CANCELLED)
    assert examine("requests").level == Level.OK


def test_notifications(examine: Examine, parts: Deployment) -> None:
    """Those that failed in the last day are counted."""
    row = toolbox.add_request("", "numbers", "ada")
    for age, count in ((timedelta(days=2), 0), (timedelta(hours=2), 1), (timedelta(hours=20), 2)):
        with parts.database.writing() as session:
            session.add(Event(request_id=row.id, kind=EventKind.NOTIFY_FAILED, at=NOW - age))
        told = examine("notifications")
        assert (told.level, f"{count} could not be delivered" in told.said) == (
            Level.WARNING if count else Level.OK,
            bool(count),
        )


def test_all_of_it_on_postgresql(examine: Examine, postgres: str) -> None:
    """The same questions, to the other database."""
    url = new_postgresql(postgres)
    said = {name: examine(name, bgtasks_database_url=url).said for name in ("sweeps", "requests", "notifications")}
    assert "none has run yet" in said["sweeps"]
    assert said["requests"] == "ok none waits or runs for suspiciously long. → "
    assert said["notifications"] == "ok none has failed in the last day. → "
    assert examine("clocks", bgtasks_database_url=url).said == "ok they agree. → "
    record = database.connect(url, Path.cwd())
    with record.one_transaction() as connection:
        connection.exec_driver_sql(
            "INSERT INTO bgtasks_sweeps (name, ran_at) VALUES ('dispatch', now() - interval '5 days')"
        )
    assert "dispatch ran 5 days ago" in examine("sweeps", bgtasks_database_url=url).said
    record.engine.dispose()
