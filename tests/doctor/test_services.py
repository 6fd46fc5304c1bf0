"""Whether the services answer that a deployment is made of; each is a real one."""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Queue
from sqlalchemy.engine import make_url

from bgtasks import database, doctor, migrations, queues, registry
from bgtasks.deployment import Deployment
from bgtasks.doctor import Level
from bgtasks.object_keys import ObjectKey
from bgtasks.stack import HOST, Mailbox, Stack, free_port
from bgtasks.stores import opening
from tests.conftest import new_postgresql
from tests.doctor.conftest import Examine
from tests.support.brokers import silent_port
from tests.support.file_types import Numbers
from tests.support.rabbitmq import RabbitMQ
from tests.support.s3 import Bucket
from tests.support.services import missing


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Valkey server."""
    folder = tmp_path_factory.mktemp("services")
    made = Stack(folder, folder)
    made.start_broker()
    yield made
    made.stop()


def test_a_broker_that_is_well(examine: Examine, stack: Stack) -> None:
    """It takes a message, and nothing is left of it."""
    told = examine("broker", broker_url=stack.env["CELERY_BROKER_URL"])
    assert told.level == Level.OK, told.said
    with Connection(stack.env["CELERY_BROKER_URL"]) as connection:
        assert connection.channel().client.keys("*bgtasks.check*") == []


def test_a_broker_that_is_away_or_missing(examine: Examine) -> None:
    """With its address and what it says, and no password."""
    away = examine("broker", broker_url="redis://:a-password@127.0.0.1:1/0")
    assert (away.level, "127.0.0.1:1/0 does not take messages" in away.said) == (Level.FAULT, True)
    several = examine("broker", broker_url="sentinel://:a-password@127.0.0.1:1;sentinel://:a-password@127.0.0.1:2")
    assert (several.level, "'master_name' transport option must be" in several.said) == (Level.FAULT, True)
    assert "127.0.0.1:2/ does not take messages" in several.said
    assert "a-password" not in away.said + several.said
    unreadable = examine("broker", broker_url="redis://:a-pass/word@127.0.0.1:1/0")
    assert (unreadable.level, "broker_url can't be read" in unreadable.said) == (Level.FAULT, True)
    assert "a-pass" not in unreadable.said
    assert examine("broker").level == Level.WARNING  # memory://
    assert "broker_url is not set" in examine("broker", broker_url=None).said


def test_a_broker_that_is_silent_keeps_nobody_waiting(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and answers nothing; so does a database, which has no time limit of its own."""
    monkeypatch.setattr("bgtasks.doctor.LIMIT", 0.5)
    with silent_port() as port:
        began = time.monotonic()
        silent = {"broker_url": f"redis://{HOST}:{port}/0", "result_backend": f"redis://{HOST}:{port}/1"}
        for name in ("broker", "results"):
            assert examine(name, **silent).level == Level.FAULT
        url = f"postgresql://somebody@{HOST}:{port}/database"
        assert "no answer within" in examine("database", bgtasks_database_url=url).said
        assert time.monotonic() - began < 5


def test_a_queue_that_somebody_has_declared_otherwise(examine: Examine, rabbitmq: RabbitMQ) -> None:
    """RabbitMQ would refuse our workers, with 406; what is declared as it must be is well, and none is made."""
    url = rabbitmq.new_vhost()
    well = examine("broker", broker_url=url)
    assert well.level == Level.OK, well.said
    with Connection(url) as connection:
        Queue("files.numbers")(connection.channel()).queue_declare()
    told = examine("broker", broker_url=url)
    assert (told.level, "rabbitmqctl delete_queue files.numbers" in told.said) == (Level.FAULT, True)
    assert f"the queue {queues.QUEUE} " not in told.said


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # Celery's, on Redis
def test_results(examine: Examine, stack: Stack) -> None:
    """One that is stored can be read."""
    told = examine("results", result_backend=stack.env["CELERY_RESULT_BACKEND"])
    assert told.level == Level.OK, told.said
    assert examine("results", result_backend="redis://127.0.0.1:1/0").level == Level.FAULT
    assert examine("results", result_backend=None).level == Level.WARNING


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_that_is_well(examine: Examine, kind: str, database_url: str, request: Any) -> None:
    """It can be written, and nothing is."""
    url = database_url if kind == "sqlite" else new_postgresql(request.getfixturevalue("postgres"))
    told = examine("database", bgtasks_database_url=url)
    assert (told.level, "can be written" in told.said) == (Level.OK, True)
    database.connect(url, Path.cwd()).engine.dispose()


def test_a_database_that_is_missing_away_or_of_another_release(examine: Examine, tmp_path: Path, app: Any) -> None:
    """Each with its remedy; and what needs the tables is left out. To look for a file does not make it."""
    url = f"sqlite:///{tmp_path / 'other.db'}"
    assert "no such file" in examine("database", bgtasks_database_url=url).said
    assert not (tmp_path / "other.db").exists()
    (tmp_path / "other.db").touch()
    for revision, said in ((None, "are missing"), ("0001", "are outdated (0001;")):
        if revision is not None:
            migrations.upgrade(database.connect(url, Path.cwd()), revision)
        told = examine("database", bgtasks_database_url=url)
        assert (told.level, said in told.said) == (Level.FAULT, True)
        assert "celery bgtasks migrate" in told.said
        assert examine("sweeps", bgtasks_database_url=url).said.startswith("skipped not examined: see the database")
    other = database.connect(url, Path.cwd())
    with other.one_transaction() as connection:
        connection.exec_driver_sql(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'")
    assert "of a newer release (9999)" in examine("database", bgtasks_database_url=url).said
    other.engine.dispose()
    away = examine("database", bgtasks_database_url="postgresql://ada:a-password@127.0.0.1:1/nobody")
    assert (away.level, "ada:***@127.0.0.1:1/nobody can't be reached" in away.said) == (Level.FAULT, True)
    assert "a-password" not in away.said


def test_a_database_that_can_only_be_read(examine: Examine, postgres: str) -> None:
    """A replica, say."""
    url = make_url(new_postgresql(postgres)).update_query_dict({"options": "-c default_transaction_read_only=on"})
    text = url.render_as_string(hide_password=False)
    told = examine("database", bgtasks_database_url=text)
    assert (told.level, "can't be written: ReadOnlySqlTransaction" in told.said) == (Level.FAULT, True)
    database.connect(text, Path.cwd()).engine.dispose()


def test_a_store_that_is_well(examine: Examine, tmp_path: Path, bucket: Bucket) -> None:
    """A folder and a bucket; nothing stays there."""
    assert examine("store").level == Level.OK
    assert list((tmp_path / "files").iterdir()) == []
    told = examine("store", bgtasks_store_url=bucket.url)
    assert told.level == Level.OK, told.said


def test_a_store_that_is_broken(examine: Examine, tmp_path: Path, bucket: Bucket) -> None:
    """A file where its folder should be; a bucket that is not there."""
    (tmp_path / "in the way").write_text("")
    for url in (str(tmp_path / "in the way"), bucket.url.replace(bucket.name, "no-such-bucket")):
        told = examine("store", bgtasks_store_url=url)
        assert (told.level, url in told.said) == (Level.FAULT, True)


def test_a_store_that_is_silent_takes_no_time_of_the_others(
    examine: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and answers nothing: it is named, and what is said of the others too."""
    hasty = {"read_timeout": "300ms", "timeout": "1s"}
    monkeypatch.setattr(opening, "HASTILY", hasty)
    keys = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "a key")
    for name in ("north", "south"):
        registry.register(type(name, (Numbers,), {"file_type": name, "store_url": f"s3://{name}"}))
    with silent_port() as port:
        options = {**keys, "aws_endpoint": f"http://{HOST}:{port}", "allow_http": True, "read_timeout": "60s"}
        told = examine("store", bgtasks_store_options=options)
    assert [one.level for one in told.findings] == [Level.OK, Level.FAULT, Level.FAULT], told.said
    assert ("s3://north: The file store does not answer" in told.said, "no answer within" in told.said) == (True, False)


def test_a_store_that_hangs(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a network folder whose server is gone: nothing limits that but the check itself."""
    hanging = threading.Event()
    monkeypatch.setattr("bgtasks.doctor.subject.WAIT", 0.2)
    monkeypatch.setattr("bgtasks.stores.Store.read", lambda *_: hanging.wait(60))
    told = examine("store")
    hanging.set()
    assert (told.level, "files does not answer" in told.said) == (Level.FAULT, True)


def test_a_store_that_is_full(examine: Examine, tmp_path: Path) -> None:
    """A disk with no room for one more file."""
    full = tmp_path / "full"
    full.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=2", "tmpfs", full], check=True)
    except (OSError, subprocess.CalledProcessError):
        missing("the right to mount a small disk")
    try:
        told = examine("store", bgtasks_store_url=str(full))
    finally:
        subprocess.run(["umount", "--lazy", full], check=True)
    assert (told.level, "No space left on device" in told.said) == (Level.FAULT, True)


def test_what_a_check_leaves_in_the_store_if_it_is_killed_is_an_orphan(
    examine: Examine, parts: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep removes it."""
    monkeypatch.setattr("bgtasks.stores.Store.delete", lambda *_: None)
    assert examine("store").level == Level.OK
    (key,) = parts.store.keys()
    parsed = ObjectKey.parse(key)
    assert parsed is not None
    assert parts.requests.orphans([parsed]) == [parsed]
    assert uuid.UUID(parsed.request_id)


def test_mails(examine: Examine, mailbox: Mailbox) -> None:
    """The server is greeted, and sent nothing unless somebody shall get a mail."""
    well = examine("mail", bgtasks_smtp_url=mailbox.url)
    assert (well.level, mailbox.mails) == (Level.OK, [])
    assert examine("mail", "ada@example.com", bgtasks_smtp_url=mailbox.url).level == Level.OK
    (mail,) = mailbox.mails
    assert (mail["To"], mail["From"]) == ("ada@example.com", "exports@example.com")


def test_mails_that_can_not_be_sent(examine: Examine, mailbox: Mailbox) -> None:
    """No server, no address, no TLS where it is wanted, no sender, a user that it does not know."""
    assert examine("mail", bgtasks_smtp_url=None).level == Level.WARNING
    assert (
        "bgtasks_from_email is not set" in examine("mail", bgtasks_smtp_url=mailbox.url, bgtasks_from_email=None).said
    )
    of_somebody = mailbox.url.replace("://", "://ada%40example.com:a-password@")
    for url in (f"smtp://{HOST}:{free_port()}", f"{mailbox.url}?starttls=always", of_somebody):
        told = examine("mail", bgtasks_smtp_url=url)
        assert told.level == Level.FAULT, url
        assert "ada" not in told.said
        assert "a-password" not in told.said
    assert mailbox.mails == []


def test_the_checks_are_those_that_the_command_names() -> None:
    """The command has their names for its help, and imports them late."""
    from bgtasks.cli.check import NAMES

    assert tuple(check.name for check in doctor.CHECKS) == NAMES
