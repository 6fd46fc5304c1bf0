"""Whether the services answer that the deployment is made of: broker, results, database, store, mail server."""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Iterator
from email.utils import make_msgid
from smtplib import SMTPException
from typing import Any

from amqp.exceptions import NotFound, PreconditionFailed
from celery.backends.base import DisabledBackend
from kombu import Queue
from kombu.exceptions import KombuError
from sqlalchemy import insert
from sqlalchemy.engine import make_url

from bgtasks import database, engines, queues, store_urls, whereabouts
from bgtasks.censoring import MASK, without_password
from bgtasks.doctor import inquiry
from bgtasks.doctor.findings import Check, Finding, NotExaminedError, fault, ok, warning, why
from bgtasks.doctor.subject import Shared, Subject
from bgtasks.engines import WRITES
from bgtasks.errors import BgtasksError
from bgtasks.install import queue_names
from bgtasks.migrations import revisions
from bgtasks.models import Sweep
from bgtasks.notifiers import EmailNotifier, Message
from bgtasks.stores import Store

CONTENT = b"celery bgtasks check"
MIGRATE = "celery bgtasks migrate"
MEND_BROKER = "start it, or mend broker_url or broker_transport_options"
MEND_STORE = "start it, make room, grant the right to write, or mend bgtasks_store_url"


def broker_check(subject: Subject) -> Iterator[Finding]:
    """Whether a message can be published and taken back, and our queues are declared as they must be."""
    app = subject.app
    if not (app.conf.broker_write_url or app.conf.broker_url):
        yield fault("broker_url is not set.", 'broker_url = "redis://127.0.0.1:6379/0"')
        return
    url = app.conf.broker_write_url or app.conf.broker_url
    where = without_password(url if isinstance(url, str) else app.connection_for_write().as_uri())
    if where == MASK:
        yield fault("broker_url can't be read.", "in its password quote what is no letter or digit, such as / by %2F")
        return
    try:
        with inquiry.connect(app) as connection:
            _publish(connection)
            yield from _declarations(subject, connection)
    except _failures(app) as error:
        yield fault(f"{where} does not take messages: {why(error)}.", MEND_BROKER)
        return
    if queues.kind(app) == "memory":
        yield warning("memory:// is in this process alone.", 'broker_url = "redis://127.0.0.1:6379/0"')
    yield ok(f"{where} took a message, and gave it back.")


def _failures(app: Any) -> tuple[type[BaseException], ...]:
    connection: Any = app.connection_for_write()
    # A ValueError: an option of the transport that it can't do without, such as Sentinel's master_name.
    return (OSError, ValueError, KombuError, *connection.connection_errors, *connection.channel_errors)


def _publish(connection: Any) -> None:
    with connection.SimpleBuffer(f"bgtasks.check.{uuid.uuid4().hex}") as buffer:
        buffer.put({"check": True}, serializer="json")
        buffer.get(timeout=inquiry.CONNECT)
        buffer.consumer.cancel()  # RabbitMQ would tell it that its queue is gone
        buffer.queue.delete()


def _declarations(subject: Subject, connection: Any) -> Iterator[Finding]:
    """RabbitMQ refuses to declare a queue in two ways, and then no worker starts."""
    if queues.kind(subject.app) != "amqp":
        return
    try:
        subject.file_types.get()
        names = queue_names()
    except Exception:
        names = [queues.QUEUE]
    for name in names:
        queue = queues.declared(subject.app, name)
        if isinstance(queue, Queue) and _is_refused(connection, queue):
            yield fault(
                f"the queue {name} was declared otherwise, by somebody without bgtasks: no worker can consume it.",
                f"rabbitmqctl delete_queue {name}  # while it is empty; and mend that producer",
            )


def _is_refused(connection: Any, queue: Queue) -> bool:
    try:
        connection.channel().queue_declare(queue.name, passive=True)  # what is not there is not made
        queue(connection.channel()).queue_declare()
    except NotFound:
        return False
    except PreconditionFailed:
        return True
    return False


def results_check(subject: Subject) -> Iterator[Finding]:
    """Whether a result can be stored and read: whoever waits for ``request_file`` waits for one."""
    backend: Any = subject.app.backend
    if isinstance(backend, DisabledBackend):
        yield warning(
            "there is no result backend: request_file.delay(…).get() never answers.",
            'result_backend = "redis://127.0.0.1:6379/1"',
        )
        return
    where, id = backend.as_uri(), str(uuid.uuid4())
    try:
        backend.store_result(id, "check", "SUCCESS")
        found = backend.get_result(id)
        backend.forget(id)
    except Exception as error:  # each backend has its own
        yield fault(f"{where} does not keep results: {why(error)}.", "start it, or mend result_backend")
        return
    if found == "check":
        yield ok(f"{where} kept a result, and gave it back.")
    else:
        yield fault(f"{where} forgets results at once.", "mend result_backend")


def database_check(subject: Subject) -> Iterator[Finding]:
    """Whether it can be reached and written, and has the tables of this release."""
    where = _shown(subject)
    try:
        opened, revision = subject.opened.get()
    except FileNotFoundError:
        yield fault(f"{where}: there is no such file.", MIGRATE)
        return
    except ModuleNotFoundError as error:
        yield fault(f"{where}: {error}.", "pip install 'celery-bgtasks[postgresql]'")
        return
    except NotExaminedError:
        raise
    except TimeoutError:
        yield fault(f"{where} does not answer.", "start it, or mend bgtasks_database_url")
        return
    except Exception as error:
        yield fault(f"{where} can't be reached: {why(error)}.", "start it, or mend bgtasks_database_url")
        return
    head = revisions.head()
    if revision is None:
        yield fault(f"{where}: the tables of bgtasks are missing.", MIGRATE)
    elif revision not in revisions.known():
        yield warning(
            f"{where}: the tables are of a newer release ({revision}) than this process ({head}).",
            "pip install --upgrade celery-bgtasks  # here too",
        )
    elif revision != head:
        yield fault(f"{where}: the tables are outdated ({revision}; this release has {head}).", MIGRATE)
    else:
        yield from _written(opened, where)


def _written(opened: database.Database, where: str) -> Iterator[Finding]:
    """A row that is never committed."""
    try:
        with opened.engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin() as begun:
            connection.execute(insert(Sweep).values(name=f"check {uuid.uuid4()}"))
            begun.rollback()
    except Exception as error:
        yield fault(f"{where} can't be written: {why(error)}.", "grant this process the right to")
        return
    yield ok(f"{where} can be written; its tables are those of this release ({revisions.head()}).")


def _shown(subject: Subject) -> str:
    url = make_url(subject.settings.database_url)
    return engines.shown(engines.resolve(url, subject.settings.root) if url.get_backend_name() == "sqlite" else url)


def store_check(subject: Subject) -> Iterator[Finding]:
    """Whether an object can be written, read and removed, in each store that files are put into."""
    urls: list[str | None] = [None]
    with contextlib.suppress(Exception):  # the check of the file types says what is wrong with them
        subject.file_types.get()
        urls = whereabouts.known()
    places = [url or subject.settings.store_url for url in urls]
    asked = [Shared(subject.app, functools.partial(_stored, subject, url)) for url in places]
    for one in asked:  # at the same time: one that is away must not take the others' time
        one.begin()
    for url, one in zip(places, asked, strict=True):
        try:
            yield one.get()
        except TimeoutError:
            yield fault(f"{_place(subject, url)} does not answer.", MEND_STORE)


def _place(subject: Subject, url: str) -> str:
    return url if "://" in url else str(subject.settings.path(url))


def _stored(subject: Subject, url: str) -> Finding:
    # If this process dies, the sweep removes it: no row has this id.
    key, where = f"{uuid.uuid4()}/1", _place(subject, url)
    options = store_urls.options_of(url, subject.settings.store_options)
    try:
        store = Store(url, subject.settings.root, options, is_patient=False)
        with store.open_writer(key) as writer:
            writer.write(CONTENT)
            writer.commit()
        found = b"".join(store.read(key))
        store.delete(key)
    except BgtasksError as error:
        what = f"{error} ({why(error)})" if error.__cause__ else str(error)
        return fault(f"{where}: {what}", MEND_STORE)
    if found != CONTENT:
        return fault(f"{where} gave back something else than it took.", "mend the store")
    return ok(f"{where} took an object, gave it back and removed it.")


def mail_check(subject: Subject) -> Iterator[Finding]:
    """Whether the mail server talks to us; nothing is sent, unless somebody shall get a test mail."""
    url, sender = subject.settings.smtp_url, subject.settings.from_email
    if url is None:
        yield warning("bgtasks_smtp_url is not set: nobody is mailed.", 'bgtasks_smtp_url = "smtp://127.0.0.1:25"')
        return
    if sender is None:
        yield fault("bgtasks_from_email is not set: no mail can be written.", 'bgtasks_from_email = "me@example.com"')
    where = _address(url)
    try:
        notifier = EmailNotifier(url)
        is_secure = notifier.greet()
        if subject.mail is not None:
            notifier.send(_test_mail(sender or subject.mail), subject.mail, make_msgid("bgtasks"))
    except BgtasksError as error:
        yield fault(f"{where}: {error}{_cause(error)}", "start it, or mend bgtasks_smtp_url")
        return
    if not is_secure and "@" in url:
        yield warning(f"{where}: the password is sent unencrypted.", "bgtasks_smtp_url: smtps://…, or ?starttls=always")
    yield ok(f"{where} answers{', with TLS' if is_secure else ''}." + (" A test mail is sent." if subject.mail else ""))


def _address(url: str) -> str:
    """Without the user and the password."""
    return url.partition("://")[0] + "://" + url.rpartition("@")[2].rpartition("://")[2]


def _cause(error: BgtasksError) -> str:
    """The kind of error alone where the server has spoken: it may have repeated an address."""
    cause = error.__cause__
    if cause is None:
        return ""
    return f" ({type(cause).__name__ if isinstance(cause, SMTPException) else why(error)})"


def _test_mail(sender: str) -> Message:
    text = "This mail was sent by celery bgtasks check --mail. Mails of bgtasks reach you.\n"
    return Message(subject="Test mail of bgtasks", text=text, html=None, sender=sender)


CHECKS = (
    Check("broker", "the broker takes messages", broker_check),
    Check("results", "the result backend", results_check),
    Check("database", "the record and its tables", database_check),
    Check("store", "where files are kept", store_check),
    Check("mail", "the mail server", mail_check),
)
