"""What can be seen of the configuration alone, and of who can use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from threading import Thread
from types import SimpleNamespace
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from celery import Celery
from click.testing import CliRunner
from sqlalchemy.engine import make_url

from bgtasks import doctor, engines, toolbox
from bgtasks.cli.check import check
from bgtasks.deployment import Deployment
from bgtasks.doctor import Level
from bgtasks.models import Event
from bgtasks.states import EventKind
from bgtasks.wsgi import application
from tests.conftest import KEY
from tests.doctor.conftest import Examine, found

STRONG = "pVXl4OBQZJyNPZC5i2zHO3tDkzJtQkVxdU5mXq0OTU"
#: What the test's app is told beyond that, or otherwise.
WRONG = [
    ({"bgtasks_databse_url": "sqlite://", "bgtasks_leese": 3}, "did you mean bgtasks_database_url?"),
    ({"bgtasks_databse_url": "sqlite://", "bgtasks_leese": 3}, "unknown setting bgtasks_leese"),
    ({"bgtasks_smtp_url": "https://mail"}, "bgtasks_smtp_url: Value error, must begin with smtp://"),
]


def test_settings_that_are_well(examine: Examine, tmp_path: Any) -> None:
    """And where relative paths start."""
    told = examine("settings", accept_content=["json"])
    assert (told.level, "relative paths start at " in told.said) == (Level.OK, True)


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_settings_that_are_wrong(examine: Examine, given: dict[str, Any], said: str) -> None:
    """Every one of them is named; what depends on them is left out, and says so."""
    told = examine("settings", **given)
    assert told.level == Level.FAULT
    assert said in told.said
    assert examine("database", **given).said == "skipped not examined: see the settings first. → "


def test_an_app_with_no_setting_of_ours() -> None:
    """Its defaults are another deployment than one may think."""
    told = found(Celery("nobody", set_as_current=False, config_source={}), "settings")
    assert (told.level, "celery bgtasks init" in told.said) == (Level.FAULT, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bgtasks_store_url": "files"}, "bgtasks_store_url: a relative path"),
        ({"bgtasks_database_url": "sqlite:///var/x.db"}, "bgtasks_database_url: a relative path"),
        ({"task_acks_late": True}, "task_acks_late is on"),
        ({"accept_content": ["json", "pickle"]}, "whoever can publish can run code"),
    ],
)
def test_settings_that_are_doubtful(examine: Examine, given: dict[str, Any], said: str) -> None:
    """They are valid, and hardly what is wanted."""
    told = examine("settings", **given)
    assert (told.level, said in told.said) == (Level.WARNING, True)


def test_a_key_that_is_strong(examine: Examine) -> None:
    """What it signs can be read; and older ones are accepted."""
    assert examine("key", bgtasks_default_key=STRONG).level == Level.OK
    assert "1 older" in examine("key", bgtasks_default_key=[KEY, STRONG]).said


@pytest.mark.parametrize(
    ("key", "level"),
    [(None, Level.FAULT), ("short", Level.FAULT), ("changeme" * 8, Level.WARNING), ("a" * 40, Level.WARNING)],
)
def test_a_key_that_is_missing_or_weak(examine: Examine, key: str | None, level: Level) -> None:
    """It is never shown, and the command to make another one is. Everything else is examined nevertheless."""
    told = examine("key", bgtasks_default_key=key)
    assert (told.level, "token_urlsafe" in told.said) == (level, True)
    assert key is None or key not in told.said
    if key is None:
        assert examine("settings", bgtasks_default_key=key, accept_content=["json"]).level == Level.OK
        assert examine("store", bgtasks_default_key=key).level == Level.OK


def test_a_signer_that_does_not_work(examine: Examine) -> None:
    """Somebody's own one."""
    told = examine("key", bgtasks_default_key=STRONG, bgtasks_default_signer="no.such:signer")
    assert (told.level, "bgtasks_default_signer: can't import" in told.said) == (Level.FAULT, True)


def test_file_types(examine: Examine) -> None:
    """Their names; a module that can't be imported, and what it says."""
    assert examine("file_types").said == "ok numbers. → "
    told = examine("file_types", imports=("no_such_module",))
    assert (told.level, "No module named 'no_such_module'" in told.said) == (Level.FAULT, True)


class Silent(WSGIRequestHandler):
    """Its log is nobody's business here."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def site(app: Celery) -> Iterator[str]:
    """The files application behind a real server."""
    server = make_server("127.0.0.1", 0, application, handler_class=Silent)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_base_url(examine: Examine, site: str) -> None:
    """Where the application answers; where another one does; where nobody does; and where there is none."""
    assert examine("base_url", bgtasks_base_url=site).level == Level.OK
    elsewhere = examine("base_url", bgtasks_base_url=f"{site}/elsewhere")
    assert (elsewhere.level, "something else" in elsewhere.said) == (Level.WARNING, True)
    away = examine("base_url", bgtasks_base_url="http://127.0.0.1:1")
    assert (away.level, "can't be reached" in away.said) == (Level.WARNING, True)
    open_to_all = examine("base_url", bgtasks_base_url="http://files.invalid")
    assert "bgtasks_base_url = 'https://files.invalid'" in open_to_all.said
    unset = examine("base_url", bgtasks_base_url=None)
    assert (unset.level, "not set" in unset.said) == (Level.FAULT, True)


def test_identity(examine: Examine, parts: Deployment) -> None:
    """The default is doubtful until somebody who downloaded was known; one of one's own must be a function."""
    assert examine("identity").level == Level.WARNING
    assert examine("identity", bgtasks_identify="bgtasks.identity:no_such").level == Level.FAULT
    assert examine("identity", bgtasks_identify="bgtasks.identity:REQUESTER").level == Level.FAULT
    assert examine("identity", bgtasks_identify="tests.support.site:who").level == Level.OK
    row = toolbox.add_request("", "numbers", "ada")
    with parts.database.writing() as session:
        session.add(Event(request_id=row.id, kind=EventKind.DOWNLOADED, actor=None))
    assert examine("identity").level == Level.WARNING
    with parts.database.writing() as session:
        session.add(Event(request_id=row.id, kind=EventKind.DOWNLOADED, actor="ada"))
    assert examine("identity").level == Level.OK


def test_what_a_check_says_has_no_secret(examine: Examine) -> None:
    """Whoever has put a password into an error."""
    told = examine(
        "broker",
        broker_url="redis://:a%20password@127.0.0.1:1/0",
        bgtasks_default_signer="x",
    )
    assert told.level == Level.FAULT
    assert "password" not in told.said
    subject = doctor.Subject(Celery("x", set_as_current=False, broker="redis://:a%20password@127.0.0.1:1/0"))
    assert not re.search("password", subject.hide("it is 'a password' or a%20password"))
    told = examine("database", bgtasks_database_url="postgresql://ada@127.0.0.1:1/nobody?password=a%20password")
    assert told.level != Level.OK
    assert not re.search("a(%20|[+ ])password", told.said), told.said
    assert "***" in told.said


@pytest.mark.parametrize("name", ["bgtasks_base_url", "bgtasks_login_url"])
def test_what_everybody_is_shown_takes_no_password(examine: Examine, name: str) -> None:
    """It is refused, and not shown once more."""
    told = examine("settings", **{name: "http://ada:a%20password@127.0.0.1:1"})
    assert (told.level, f"{name}: " in told.said, "takes no user" in told.said) == (Level.FAULT, True, True)
    assert "password@" not in told.said
    assert "ada" not in told.said


def test_where_the_tables_are_is_printed_without_a_password() -> None:
    """Wherever it is in the URL: psycopg takes one from the query, too. ``celery bgtasks migrate`` prints this."""
    url = make_url("postgresql://ada:s3cret@host/db?password=s3cret&sslpassword=s3cret&sslmode=require")
    assert engines.shown(url) == "postgresql://ada:***@host/db?password=***&sslmode=require&sslpassword=***"


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, type("PanicException", (BaseException,), {})])
def test_the_crash_of_a_check_is_told(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """As a fault of its own, and no other suffers."""

    def crash(*_: object) -> None:
        raise error("something unforeseen.")

    monkeypatch.setattr("bgtasks.doctor.configuration._risks", crash)
    told = examine("settings").said
    said = f"fault this check itself has failed: {error.__name__}: something unforeseen. → mend it if"
    assert told.startswith(said)


def test_json_and_what_counts_as_a_fault(app: Celery) -> None:
    """Warnings don't, unless ``--strict`` is given; what is not asked for is not examined."""

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(check, arguments, obj=SimpleNamespace(app=app))

    told = run("--json", "--only", "file_types", "--only", "broker")
    said = json.loads(told.output)
    assert (told.exit_code, said["well"], said["counts"]) == (0, True, {"ok": 1, "warning": 1})
    assert [(one["name"], one["level"]) for one in said["checks"]] == [("file_types", "ok"), ("broker", "warning")]
    assert said["checks"][1]["findings"][0]["remedy"] == 'broker_url = "redis://127.0.0.1:6379/0"'
    assert run("--strict", "--only", "broker").exit_code == 1
    app.conf.broker_url = "redis://127.0.0.1:1/0"
    blind = run("--json", "--only", "workers")  # nobody knows how they are
    assert (blind.exit_code, json.loads(blind.output)["well"]) == (1, False)
    assert run("--only", "nothing").exit_code == 2
    assert "1 well." in run("--only", "file_types").output
