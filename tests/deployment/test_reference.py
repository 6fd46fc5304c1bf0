"""The reference deployment: its file types, its schedule and its configuration."""

from __future__ import annotations

import csv
import inspect
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import func, insert, select
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

import celeryconfig
from bgtasks import database, registry, request_file, settings, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import InvalidCriteria
from tasks import flights, login_events
from tasks.flights import Flights
from tasks.login_events import INLINE, SAMPLE, LoginEvent, LoginEvents
from tests.support.flights import FLIGHTS

ROOT = Path(celeryconfig.__file__).parent


@pytest.fixture
def events(parts: Deployment) -> int:
    """The sample in the record's own database, and the type that exports it."""
    registry.register(LoginEvents)
    return login_events.load()


def asking(**query: str) -> Request:
    """Somebody asks in a web page."""
    return Request(EnvironBuilder(query_string=query, environ_overrides={"REMOTE_USER": "ada"}).get_environ())


#: What a request may need one day: of no use to a worker's child that has done nothing yet.
NEEDED_LATER = (
    "adbc_driver_manager",
    "alembic",
    "apprise",
    "jinja2",
    "msgspec",
    "obstore",
    "opentelemetry",
    "prometheus_client",
    "psycopg",
    "pyarrow",
    "xlsxwriter",
    "zstandard",
)


def test_nothing_is_imported_before_it_is_needed() -> None:
    """Formats, stores and mails cost a worker's child no memory before its first file."""
    modules = ["bgtasks", *celeryconfig.imports]
    script = f"import sys, importlib; [importlib.import_module(name) for name in {modules!r}]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert set(NEEDED_LATER) & set(loaded.stdout.split()) == set()


def test_loading_twice_loads_once(events: int) -> None:
    """The loading tasks may be repeated."""
    assert events == SAMPLE
    assert login_events.load() == SAMPLE
    with database.current().reading() as session:
        assert session.scalar(select(func.count(LoginEvent.id))) == SAMPLE


def test_a_small_range_of_events_is_exported_at_once(events: int) -> None:
    """Both days are in it, in UTC, and a name that looks like a formula is neutralised."""
    delayed, response = LoginEvents().respond_to(asking(from_date="2026-01-01", until_date="2026-01-02"))
    rows = list(csv.reader(io.StringIO(b"".join(response.iter_encoded()).decode())))
    assert delayed is False
    assert rows[0] == ["id", "at", "username", "address", "succeeded"]
    assert rows[1] == ["1", "2026-01-01 00:00:00+00:00", "ada", "192.0.2.1", "false"]
    assert rows[5][2] == "'=SUM(1;1)"
    assert len(rows) == 1 + 2 * 24 * 60 // 17 + 1
    assert rows[-1][1].startswith("2026-01-02 23:")


def test_a_large_range_of_events_waits(parts: Deployment, events: int) -> None:
    """More than 10,000 events are made in the background."""
    assert events > INLINE
    delayed, response = LoginEvents().respond_to(asking(from_date="2026-01-01"))
    assert (delayed, response.status_code) == (True, 202)
    file_request = toolbox.add_request({"from_date": "2026-01-01"}, "login_events", "ada")
    LoginEvents.handle(file_request)
    row = parts.requests.get(file_request.id)
    assert row is not None
    assert (row.state, row.rows_written) == ("ready", SAMPLE)


def test_an_archive_has_the_events_and_their_number_by_name(parts: Deployment, events: int) -> None:
    """Two selects on the same days; of how many rows there are nothing is known before, so that it waits."""
    assert LoginEvents().respond_to(asking(from_date="2026-01-01", until_date="2026-01-02", format="zip"))[0]
    chosen = {"from_date": "2026-01-01", "until_date": "2026-01-02"}
    file_request = toolbox.add_request(chosen, "login_events", "ada", format="zip")
    LoginEvents.handle(file_request)
    row = parts.requests.get(file_request.id)
    assert row is not None
    assert (row.filename, row.rows_written) == ("login_events.zip", 170 + 5)
    with zipfile.ZipFile(io.BytesIO(b"".join(parts.store.read(str(row.object_key))))) as archive:
        files = {name: archive.read(name).decode().splitlines() for name in archive.namelist()}
    assert {name: len(lines) for name, lines in files.items()} == {"events.csv": 171, "by_name.csv": 6}
    assert files["by_name.csv"][:2] == ["username,events", "'=SUM(1;1),34"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_whoever_asks_for_flights_chooses_the_columns(parts: Deployment) -> None:
    """By the table's names; they stand in a file for programs, and their headings in one for people."""
    registry.register(Flights)
    flights.metadata.create_all(parts.database.engine)
    with parts.database.writing() as session:
        session.execute(insert(flights.flights), FLIGHTS[:2])
    for format, expected in (
        ("csv", "To,Carrier\r\nLAX,ZQ\r\nLAX,UA\r\n"),
        ("jsonl", '{"dest":"LAX","carrier":"ZQ"}\n{"dest":"LAX","carrier":"UA"}\n'),
    ):
        _, response = Flights().respond_to(asking(from_date="2013-04-01", columns="dest,carrier", format=format))
        assert b"".join(response.iter_encoded()).decode() == expected


@pytest.mark.parametrize("file_type", [Flights, LoginEvents])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "from_date"),
        ({"from_date": "some day"}, "from_date"),
        ({"from_date": "2013-02-01", "until_date": "2013-01-01"}, "until_date"),
    ],
)
@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_wrong_range_is_told_by_field(file_type: Any, query: dict[str, str], field: str) -> None:
    """The view can show what is wrong beside the field."""
    with pytest.raises(InvalidCriteria) as invalid:
        file_type().respond_to(asking(**query))
    assert list(invalid.value.fields) == [field]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_all_flights_are_loaded(parts: Deployment) -> None:
    """The package's 336,776 flights, with what is missing in it as NULL."""
    assert flights.load() == 336_776
    with database.current().reading() as session:
        cancelled = select(func.count()).select_from(flights.flights).where(flights.flights.c.dep_time.is_(None))
        assert session.scalar(cancelled) == 8_255


def test_the_configuration_is_complete_and_every_entry_of_beat_is_a_task() -> None:
    """Nothing is scheduled that no worker knows; the settings are ours to the letter."""
    app = Celery("reference", set_as_current=False)
    app.config_from_object(celeryconfig)
    app.loader.import_default_modules()
    app.finalize()
    assert set(celeryconfig.imports) == set(app.conf.imports)
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)
    assert {entry["options"]["queue"] for entry in app.conf.beat_schedule.values()} == {"bgtasks"}
    key = {"BGTASKS_DEFAULT_KEY": "a key that is long enough"}
    assert settings.read(app.conf, key, settings.config_root(app)).root.joinpath("celeryconfig.py").exists()


def test_recurring_exports_ask_for_what_there_is() -> None:
    """An entry's criteria are valid, and its arguments are those of ``request_file``."""
    entry = celeryconfig.beat_schedule["flights-of-last-week"]
    file_type, criteria = entry["args"]
    inspect.signature(request_file.run).bind(file_type, criteria, **entry["kwargs"])
    assert entry["task"] == request_file.name
    asked = Flights().get_criteria_class()
    assert file_type == Flights.file_type
    assert asked is not None
    chosen = asked.model_validate(criteria).model_dump()
    assert (chosen["until_date"] - chosen["from_date"]).days == 6
