"""``celery bgtasks dev``: the stack, the development site and Flower, in the foreground."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import NoReturn

import click
from celery import current_app
from celery.result import AsyncResult

from bgtasks import database, migrations, registry, settings, stack
from bgtasks.dev import apps
from bgtasks.dev.navigation import FLOWER
from bgtasks.stack import HOST, Mailbox, Process, Stack, StackError

REQUESTER = "user@example.com"
#: What this machine is called in a database's URL.
LOCAL = ("localhost", "127.0.0.1", "::1")
PATIENCE = 120.0  # seconds that a table may take to be filled
#: So many processes may die within so many seconds, before something is wrong with the stack itself.
MOST_DEATHS, A_WHILE = 10, 60.0

ADDRESSES = """
The stack is running; its logs are in {log}. What dies is started again. Ctrl-C stops it.

  Site         {BGTASKS_BASE_URL}
               ask for files there, follow them, and read the mails; log in with any name: it is the requester
  Flower       {DEV_FLOWER}
  Mails        {BGTASKS_SMTP_URL}, kept in {mails}
  Broker       {CELERY_BROKER_URL}
  Database     {database}
"""
EXAMPLE = """
Ask for a file from another terminal, in this folder:

  export CELERY_BROKER_URL={CELERY_BROKER_URL} CELERY_RESULT_BACKEND={CELERY_RESULT_BACKEND}
  {python} -c 'from bgtasks import request_file as ask; \\
      print(ask.delay("flights", {{"from_date": "2013-01-01"}}, requester="{requester}").id)'
"""


def own(target: database.Database) -> database.Database:
    """The database, if it is on this machine: the stack's workers and sweeps act on all requests in it.

    Raises: StackError.
    """
    if (target.url.host or "localhost") not in LOCAL and not str(target.url.host).startswith("/"):
        raise StackError(
            f"bgtasks_database_url is on {target.url.host}: this stack would act on the requests there. "
            "Set BGTASKS_DATABASE_URL to a database of its own on this machine."
        )
    return target


@contextlib.contextmanager
def whole_stack(*, flower: bool = False) -> Iterator[tuple[Stack, Mailbox]]:
    """Broker, mail server, worker, beat, the development site and maybe Flower, ready."""
    app = settings.this_app()
    root, place = settings.config_root(app), apps.place_of(app)
    mailbox, port = Mailbox(root / "var" / "mail"), stack.free_port()
    try:
        with stack.running(root) as parts:
            parts.app = place
            parts.env |= {"BGTASKS_BASE_URL": f"http://{HOST}:{port}", "BGTASKS_SMTP_URL": mailbox.url}
            parts.env |= {"BGTASKS_LOGIN_URL": "/login"}
            parts.start_broker()
            os.environ.update(parts.env)  # this process is a producer like any other
            migrations.upgrade(own(database.current()))
            parts.start_worker()
            parts.start_beat()
            if flower:
                start_flower(parts)
            parts.start_web(site_of(place), port)
            yield parts, mailbox
    finally:
        mailbox.stop()


def site_of(place: str | None) -> str:
    """The development site for a web server.

    :param place: of the deployment's Celery app; None: celeryconfig.py's.
    """
    return "bgtasks.dev.site:application" if place is None else f"bgtasks.dev.site:of({place!r})"


def start_flower(parts: Stack) -> None:
    """Flower, whose address the site is told."""
    port = stack.free_port()
    parts.start_flower(port)
    parts.env[FLOWER] = f"http://{HOST}:{port}"


def load(file_type: str) -> int:
    """Have the deployment fill the table of a file type; how many rows there are."""
    loading: AsyncResult[int] = current_app.send_task(f"{file_type}.load", ignore_result=False)
    return loading.get(timeout=PATIENCE)


def dev() -> None:
    """The stack, its site and Flower, in the foreground."""
    with whole_stack(flower=True) as (parts, _):
        rows = {name: load(name) for name in registry.names() if f"{name}.load" in current_app.tasks}
        click.echo(addresses(parts, rows))
        with contextlib.suppress(KeyboardInterrupt):
            watch(parts)
        click.echo("Stopping.")


def addresses(parts: Stack, rows: dict[str, int]) -> str:
    """Where everything is.

    :param rows: how many of them each file type's own table has.
    """
    text = ADDRESSES + (EXAMPLE if "flights" in registry.names() else "")
    tables = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in rows.items())
    return text.format(
        log=parts.var / "log",
        mails=parts.var / "mail",
        python=sys.executable,
        requester=REQUESTER,
        database=": ".join(filter(None, (database.current().url.render_as_string(), tables))),
        **parts.env,
    )


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
