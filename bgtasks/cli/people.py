"""``celery bgtasks cancel|retry|revoke|token``: what an operator does with a request."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from bgtasks.cli import printing
from bgtasks.cli.base import NotPossible, as_json, bgtasks, plainly, print_json
from bgtasks.cli.selecting import found

if TYPE_CHECKING:
    from bgtasks.models import FileRequest

ids = click.argument("ids", nargs=-1, required=True, metavar="ID...")


def operator() -> str:
    """Who runs this command, for the history."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        user = str(os.getuid())
    return f"cli:{user}@{socket.gethostname()}"


@bgtasks.command()
@ids
@as_json
@plainly
def cancel(ids: Sequence[str], as_json: bool) -> None:
    """Give requests up that have not ended; a running step stops within about a second.

    \b
    Example:
        celery bgtasks cancel 3f2a9c1b 77d0c4e2
    """
    from bgtasks import toolbox

    _each(ids, toolbox.cancel, "cancelled", "only what has not ended can be cancelled", as_json=as_json)


@bgtasks.command()
@ids
@as_json
@plainly
def retry(ids: Sequence[str], as_json: bool) -> None:
    """Start failed requests again, from their first step.

    \b
    Example:
        celery bgtasks retry 3f2a9c1b
    """
    from bgtasks import toolbox

    _each(ids, toolbox.retry, "started again", "only what has failed can be started again", as_json=as_json)


@bgtasks.command()
@ids
@as_json
@plainly
def revoke(ids: Sequence[str], as_json: bool) -> None:
    """Make every link to the files of these requests invalid, now.

    \b
    Example:
        celery bgtasks revoke 3f2a9c1b
    """
    from bgtasks import toolbox

    _each(ids, toolbox.revoke, "its links were withdrawn", "it has no link", as_json=as_json)


def _each(ids: Sequence[str], act: Callable[..., bool], done: str, refused: str, *, as_json: bool) -> None:
    """Do it to each, say of each what came of it, and end with the highest of their exit codes."""
    outcomes = [_outcome(id, act, done, refused) for id in ids]
    if as_json:
        print_json(outcomes)
    else:
        for outcome in outcomes:
            printing.say(f"{outcome['id']}: {outcome['message']}", err=outcome["exit_code"] != 0)
    click.get_current_context().exit(max(outcome["exit_code"] for outcome in outcomes))


def _outcome(id: str, act: Callable[..., bool], done: str, refused: str) -> dict[str, Any]:
    from bgtasks.errors import BgtasksError

    row = None
    try:
        row = found(id)
        if not act(row, operator()):
            raise NotPossible(f"{row.state}: {refused}")
    except click.ClickException as error:
        code, message = error.exit_code, error.format_message()
    except BgtasksError as error:
        code, message = 1, str(error)
    else:
        code, message = 0, done
    return {"id": row.id if row else id, "state": row and row.state, "exit_code": code, "message": message}


@bgtasks.command()
@click.argument("id")
@click.option("--token", "bare", is_flag=True, help="Print the bare token.")
@as_json
@plainly
def token(id: str, bare: bool, as_json: bool) -> None:
    """Make a new link to a finished file, for its requester; the file lasts as long as the link.

    Whoever has made it is in the request's history; the link itself is kept nowhere. Links that were sent before work
    on, unless they were revoked.

    \b
    Example:
        celery bgtasks token 3f2a9c1b
    """
    row = found(id)
    _require_file(row)
    made, url, until = _linked(row, bare=bare)
    if as_json:
        print_json({"id": row.id, "url": url, "token": made if bare else None, "works_until": until})
        return
    printing.say(made if bare else url)
    printing.say(f"It works until {printing.when(until)} UTC." if until else "It works for ever.", err=True)


def _require_file(row: FileRequest) -> None:
    from bgtasks.states import State

    if row.state != State.READY or row.has_expired:
        state = State.EXPIRED if row.state == State.READY else row.state
        raise NotPossible(f"{row.id} is {state}: there is no file to make a link to.")


def _linked(row: FileRequest, *, bare: bool) -> tuple[str, str | None, datetime | None]:
    """A token, the link that it is in, and when both end. Raises: NotPossible."""
    from bgtasks import deployment, links, mails, toolbox
    from bgtasks.states import EventKind

    file_type = links.restored(row)
    max_age = links.signer_of(row).max_age
    try:
        made = file_type.create_token(row) if file_type else toolbox.create_token(row)
    except RuntimeError:
        raise NotPossible(f"{row.id} has no requester, and its type is for requesters only.") from None
    url = None
    if not bare:
        url = file_type.get_download_url(row, made) if file_type else mails.download_url(None, row, made)
    deployment.current().requests.note(row, EventKind.LINKED, actor=operator())
    return made, url, None if max_age is None else datetime.now(UTC) + timedelta(seconds=max_age)
