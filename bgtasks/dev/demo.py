"""``celery bgtasks demo``: an export from the request to the file in the requester's hands."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import http.client
import re
import sys
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from sqlalchemy import text

from bgtasks import database, deployment, toolbox
from bgtasks.dev.foreground import PATIENCE, REQUESTER, load, whole_stack
from bgtasks.entry import request_file
from bgtasks.models import FileRequest
from bgtasks.stack import Mailbox, StackError, wait_for
from bgtasks.states import LIVE, State

STRANGER = "somebody.else@example.com"
CRITERIA = {"from_date": "2013-01-01", "until_date": "2013-06-30"}
COUNT = text("SELECT count(*) FROM flights WHERE date BETWEEN :from_date AND :until_date")
BAR = 30  # characters
CHUNK = 1024 * 1024  # bytes


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
