"""``celery bgtasks demo`` and ``celery bgtasks dev``: the whole system on one machine, nothing to install by hand.

Needs the extra ``dev``.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import http.client
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click
from celery import current_app
from celery.result import AsyncResult
from sqlalchemy import text
from werkzeug.wrappers import Request, Response

from bgtasks import database, deployment, migrations, settings, stack, toolbox
from bgtasks.entry import request_file
from bgtasks.models import FileRequest
from bgtasks.stack import HOST, Mailbox, Process, Stack, StackError, wait_for
from bgtasks.states import LIVE, State
from bgtasks.wsgi import application as files_application

REQUESTER, STRANGER = "user@example.com", "somebody.else@example.com"
CRITERIA = {"from_date": "2013-01-01", "until_date": "2013-06-30"}
COUNT = text("SELECT count(*) FROM flights WHERE date BETWEEN :from_date AND :until_date")
PATIENCE = 120.0  # seconds for each thing that the demo waits for
BAR = 30  # characters
#: So many processes may die within so many seconds, before something is wrong with the stack itself.
MOST_DEATHS, A_WHILE = 10, 60.0
CHUNK = 1024 * 1024  # bytes

ADDRESSES = """
The stack is running; its logs are in {log}. What dies is started again. Ctrl-C stops it.

  Downloads    {BGTASKS_BASE_URL}/files/<token> (log in with any name: it is the requester)
  Flower       {flower}
  Mails        {BGTASKS_SMTP_URL}, kept in {mails}
  Broker       {CELERY_BROKER_URL}
  Database     {database}: {flights:,} flights, {login_events:,} login events

Ask for a file from another terminal, in this folder:

  export CELERY_BROKER_URL={CELERY_BROKER_URL} CELERY_RESULT_BACKEND={CELERY_RESULT_BACKEND}
  {python} -c 'from bgtasks import request_file as ask; \\
      print(ask.delay("flights", {{"from_date": "2013-01-01"}}, requester="{requester}").id)'
"""


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The files application behind HTTP Basic authentication that takes any name: a stand-in for a real login."""
    authorization = Request(environ).authorization
    if authorization is None or not authorization.username:
        challenge = {"WWW-Authenticate": 'Basic realm="any name will do"'}
        return Response("Log in with any name: it is the requester.", 401, challenge)(environ, start_response)
    return files_application({**environ, "REMOTE_USER": authorization.username}, start_response)


@contextlib.contextmanager
def whole_stack() -> Iterator[tuple[Stack, Mailbox]]:
    """Broker, mail server, worker, beat and web server, ready."""
    root = settings.config_root(settings.this_app())
    mailbox, port = Mailbox(root / "var" / "mail"), stack.free_port()
    try:
        with stack.running(root) as parts:
            parts.env |= {"BGTASKS_BASE_URL": f"http://{HOST}:{port}", "BGTASKS_SMTP_URL": mailbox.url}
            parts.start_broker()
            os.environ.update(parts.env)  # this process is a producer like any other
            migrations.upgrade(database.current())
            parts.start_worker()
            parts.start_beat()
            parts.start_web("bgtasks.dev:application", port)
            yield parts, mailbox
    finally:
        mailbox.stop()


def load(file_type: str) -> int:
    """Have the deployment fill the table of a file type; how many rows there are."""
    loading: AsyncResult[int] = current_app.send_task(f"{file_type}.load", ignore_result=False)
    return loading.get(timeout=PATIENCE)


def dev() -> None:
    """The stack and Flower, in the foreground."""
    with whole_stack() as (parts, _):
        flower = stack.free_port()
        parts.start_flower(flower)
        rows = {name: load(name) for name in ("flights", "login_events")}
        click.echo(
            ADDRESSES.format(
                log=parts.var / "log",
                mails=parts.var / "mail",
                flower=f"http://{HOST}:{flower}",
                python=sys.executable,
                requester=REQUESTER,
                database=database.current().url.render_as_string(),
                **parts.env,
                **rows,
            )
        )
        with contextlib.suppress(KeyboardInterrupt):
            watch(parts)
        click.echo("Stopping.")


def watch(parts: Stack) -> NoReturn:
    """Until Ctrl-C: what dies is started again. Raises: StackError, when that happens too often."""
    deaths: list[float] = []
    while True:
        for process in parts.processes:
            if not process.running:
                deaths = [died for died in deaths if died > time.monotonic() - A_WHILE] + [time.monotonic()]
                revive(process, len(deaths))
        time.sleep(0.5)


def revive(process: Process, deaths: int) -> None:
    """Start a process again that has died. Raises: StackError, for one that can't live."""
    if deaths > MOST_DEATHS:
        raise StackError(f"{process.name} has ended again:\n{process.output()[-3000:]}")
    click.echo(f"{process.name} has ended, and is started again (see {process.log}).")
    process.restart()
    click.echo(f"{process.name} is running again.")


def demo() -> None:
    """An export from the request to the file in the requester's hands, checked on the way."""
    began = time.monotonic()
    say("Starting a broker, a mail server, a worker, beat and a web server on free ports of this machine ...")
    with whole_stack() as (parts, mailbox):
        say(f"They are ready after {time.monotonic() - began:.1f} s; their logs are in {parts.var / 'log'}.")
        say(f"The table of flights has {load('flights'):,} rows: New York City's departures of 2013.")
        file_request = ask()
        mail = receive(mailbox, file_request)
        file = fetch(mail, parts.var / "demo" / file_request.filename)
        check(file, file_request)
        refuse(mail)
        say(f"All is well. The file is at {file}")
        say(f"Stopping what was started (after {time.monotonic() - began:.1f} s).")


def say(line: str) -> None:
    """One line of the demo's story."""
    click.echo(f"  {line}")


def ask() -> FileRequest:
    """Ask for the file as any producer does, and watch its row until it is ready."""
    asked = request_file.delay("flights", CRITERIA, requester=REQUESTER)
    say(f"Asked for the flights of {CRITERIA['from_date']} to {CRITERIA['until_date']} for {REQUESTER}:")
    say(f"request {asked.id}.")
    with click.progressbar(length=1, label="  Writing rows", width=BAR, show_eta=False, hidden=not _on_screen()) as bar:
        row: FileRequest = wait_for(lambda: _watched(asked.id, bar), "the request has not ended", PATIENCE)
    result = asked.get(timeout=PATIENCE)
    if row.state != State.READY or result["sha256"] != row.sha256:
        raise StackError(f"the request has ended as {row.state}: {row.error_message}")
    say(f"It is ready: {row.filename}, {row.rows_written:,} rows, {row.size:,} bytes, SHA-256 {row.sha256}.")
    return row


def _on_screen() -> bool:
    return sys.stdout.isatty()


def _watched(request_id: str, bar: Any) -> FileRequest | None:
    """The row once it has ended; until then the bar shows what it says of its progress."""
    row = deployment.current().requests.get(request_id)
    if row is None:
        return None
    bar.length = row.rows_total or 1
    if row.rows_written > bar.pos:
        bar.update(row.rows_written - bar.pos)
        if not _on_screen():  # a log: a line each time instead of a bar
            say(f"Writing rows: {row.rows_written:,} of {row.rows_total or 0:,}")
    return row if row.state not in LIVE else None


def receive(mailbox: Mailbox, file_request: FileRequest) -> EmailMessage:
    """The requester's mail, as it came over SMTP."""

    def found() -> EmailMessage | None:
        return next((mail for mail in list(mailbox.mails) if _is_about(mail, file_request)), None)

    mail: EmailMessage = wait_for(found, "no mail has come", PATIENCE)
    say(f"A mail has come to {mail['To']} over SMTP: {mail['Subject']!r}.")
    return mail


def _is_about(mail: EmailMessage, file_request: FileRequest) -> bool:
    about, _ = toolbox.decode(link_in(mail).rpartition("/")[2])
    return mail["To"] == file_request.requester_email and about.id == file_request.id


def link_in(mail: EmailMessage) -> str:
    """The download link of a mail."""
    body = mail.get_body(("plain",))
    links = re.findall(r"http://\S+", body.get_content() if body else "")
    if len(links) != 1:
        raise StackError(f"the mail has {len(links)} links")
    return str(links[0])


@contextlib.contextmanager
def get(url: str, user: str) -> Iterator[http.client.HTTPResponse]:
    """A GET request by somebody who is logged in."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=PATIENCE)
    basic = base64.b64encode(f"{user}:".encode()).decode()
    with contextlib.closing(connection):
        connection.request("GET", parts.path, headers={"Authorization": f"Basic {basic}", "Accept": "application/json"})
        yield connection.getresponse()


def fetch(mail: EmailMessage, target: Path) -> Path:
    """Follow the link as the requester, and keep the file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with get(link_in(mail), REQUESTER) as response, target.open("wb") as file:
        if response.status != http.HTTPStatus.OK:
            raise StackError(f"the requester's download was refused: {response.status}")
        while chunk := response.read(CHUNK):
            file.write(chunk)
    say(f"{REQUESTER} has followed its link and downloaded {target.stat().st_size:,} bytes.")
    return target


def check(file: Path, file_request: FileRequest) -> None:
    """Hold the download against the row and the table."""
    with file.open("rb") as binary:
        digest = hashlib.file_digest(binary, "sha256").hexdigest()
    with file.open(newline="", encoding="utf-8") as lines:
        rows = sum(1 for _ in csv.reader(lines)) - 1
    with database.current().reading() as session:
        counted = session.execute(COUNT, CRITERIA).scalar_one()
    if digest != file_request.sha256:
        raise StackError(f"the download's SHA-256 is {digest}, and the row says {file_request.sha256}")
    if rows != counted:
        raise StackError(f"the download has {rows:,} rows, and the table {counted:,}")
    say(f"Its SHA-256 is the one on the row, and its {rows:,} rows are as many as the table has.")


def refuse(mail: EmailMessage) -> None:
    """Follow the same link as somebody else."""
    with get(link_in(mail), STRANGER) as response:
        if response.status != http.HTTPStatus.FORBIDDEN:
            raise StackError(f"{STRANGER} was not refused: {response.status}")
        say(f"{STRANGER} gets {response.status} {response.reason} on the same link.")
