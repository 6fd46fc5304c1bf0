"""``celery bgtasks request``: asking for a file, as any producer does."""

from __future__ import annotations

import json
import signal
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from bgtasks.cli import printing
from bgtasks.cli import requests_shown as shown
from bgtasks.cli.base import NotThere, WrongUse, as_json, bgtasks, plainly, print_json
from bgtasks.states import LIVE, State

if TYPE_CHECKING:
    from bgtasks.models import FileRequest

#: Seconds between two looks at a request that is waited for, at first and in the end.
SOON, LATER = 0.1, 1.0
FOR_EVER = float("inf")
#: The exit code of what Ctrl-C has ended, as shells have it: 128 and the number of the signal.
INTERRUPTED = 130


@bgtasks.command()
@click.argument("file_type")
@click.argument("chosen", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--criteria", metavar="JSON", help="All criteria as JSON; - reads them from the standard input.")
@click.option("--requester", help="Who asks, and the only one who may download.")
@click.option("--email", help="Where they are told (default: the requester, if that is an address).")
@click.option("--format", "format_", help="One of the type's formats (default: its first).")
@click.option("--columns", metavar="NAME,NAME", help="The columns of the file, in its order (default: all).")
@click.option("--language", help="What the requester is told in, such as de.")
@click.option("--tz", help="The zone of times in the file and the mail, such as Europe/Zurich.")
@click.option("--filename", help="The finished file's name.")
@click.option("--description", default="", help="What the file is, in words for its requester.")
@click.option("--idempotency-key", metavar="KEY", help="The same again, from the same requester, is the same request.")
@click.option(
    "--wait", metavar="[SECONDS]", is_flag=False, flag_value=FOR_EVER, type=click.FloatRange(min=0),
    help="Wait for its end, for so long at most, and print what has become of it.",
)  # fmt: skip
@as_json
@plainly
def request(
    file_type: str, chosen: Sequence[str], criteria: str | None, format_: str | None, email: str | None,
    columns: str | None, wait: float | None, as_json: bool, **more: Any,
) -> None:  # fmt: skip
    """Ask for a file, and print the request's id.

    The request is stored at once, whether or not a worker or the broker is there. KEY=VALUE is a text, and one that
    is repeated makes a list; KEY:=JSON is any JSON. Other users of this machine can see a command's arguments while
    it runs: criteria from the standard input they can't. It ends with 1 if --wait was given and there is no file.
    Ctrl-C ends the waiting alone, with 130: the request goes on, and its id is printed in any case.

    \b
    Examples:
        celery bgtasks request flights from_date=2013-01-01 --requester user@example.com
        celery bgtasks request flights --criteria '{"from_date": "2013-01-01"}' --requester ada --wait 600
    """
    asked = {
        **more,
        "requester_email": email,
        "format": format_ or "",
        "columns": [name.strip() for name in columns.split(",")] if columns else None,
    }
    chosen_criteria = _criteria(criteria, chosen)
    with _interrupts() as noted:
        row, is_new = _asked(file_type, chosen_criteria, asked)
        if not as_json:
            _say_beginning(row, is_new)
        try:
            if wait is not None:
                for now in _looks(row, wait, noted, quiet=as_json):
                    row = now
        finally:  # whatever ends the waiting: a program goes on with the id
            if as_json:
                print_json({**shown.brief(row), "error_message": row.error_message, "is_new": is_new})
    if wait is not None and not as_json:
        _say_end(row)
    is_missing = wait is not None and row.state != State.READY
    click.get_current_context().exit(INTERRUPTED if noted else int(is_missing))


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Each Ctrl-C within the block: the first is noted, so that what is stored is told of; the second breaks off."""
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    before = signal.getsignal(signal.SIGINT)
    if before != signal.SIG_IGN:  # as a shell's background jobs have it
        signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _say_beginning(row: FileRequest, is_new: bool) -> None:
    printing.say(row.id)
    if not is_new:
        printing.say(f"An earlier request answers for it, which is {row.state}.", err=True)
    elif not row.requester:
        printing.say("It has no requester: nobody may have the file, unless its type is for anybody.", err=True)


def _asked(file_type: str, criteria: Any, asked: dict[str, Any]) -> tuple[FileRequest, bool]:
    """The request, and whether it is a new one. Raises: WrongUse, for what its type can't make."""
    from bgtasks import registry, toolbox
    from bgtasks.columns import columns_of
    from bgtasks.errors import InvalidCriteria, UnknownFileType, UnknownFormat
    from bgtasks.models import FileRequest

    new = str(uuid.uuid4())
    try:
        known = registry.get(file_type)
        unstored = FileRequest(**columns_of(criteria, file_type, id=new, **asked))
        known.restore(unstored).check_request(unstored)  # what a worker would find out first
        row = toolbox.add_request(criteria, file_type, id=new, schedule=True, **asked)
    except UnknownFileType:
        names = ", ".join(registry.names()) or "none"
        raise WrongUse(f"There is no type of file called {file_type!r}; there are: {names}.") from None
    except (InvalidCriteria, UnknownFormat) as error:
        raise WrongUse(str(error)) from None
    return row, row.id == new


def _criteria(text: str | None, chosen: Sequence[str]) -> Any:
    """What was chosen. Raises: WrongUse."""
    if text is not None and chosen:
        raise WrongUse("Give the criteria either as --criteria or as KEY=VALUE.")
    if text is None:
        return _pairs(chosen)
    return _json(sys.stdin.read() if text == "-" else text, "--criteria")


def _pairs(chosen: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in chosen:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip(":"):
            raise WrongUse(f"{pair[:50]!r} is not KEY=VALUE.")
        one = _json(value, name) if name.endswith(":") else value
        name = name.removesuffix(":")
        if name not in found:
            found[name] = one
        else:
            found[name] = [*(found[name] if isinstance(found[name], list) else [found[name]]), one]
    return found


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WrongUse(f"{name.removesuffix(':')} is no JSON: {error}") from None


def _looks(row: FileRequest, seconds: float, noted: Sequence[int], *, quiet: bool) -> Iterator[FileRequest]:
    """The request, each time that it is looked at, until it ends or the time is over. Raises: NotThere.

    :param noted: it is over as well when something is in it.
    """
    from bgtasks import deployment

    record, deadline, pause = deployment.current().requests, time.monotonic() + seconds, SOON
    with printing.console(stderr=True).status("") as spinner:
        while row.state in LIVE and time.monotonic() < deadline and not noted:
            if not quiet:
                spinner.update(shown.doing(row))
            time.sleep(max(0, min(pause, deadline - time.monotonic())))
            pause = min(1.2 * pause, LATER)
            now = record.get(row.id)
            if now is None:
                raise NotThere(f"The request {row.id} has been removed.")
            yield (row := now)


def _say_end(row: FileRequest) -> None:
    if row.state in LIVE:
        printing.say(f"It goes on: {shown.doing(row)}.", err=True)
        return
    printing.fields((name, value) for name, value in shown.lines(row) if name in END)


#: What is told of a request that was waited for.
END = ("state", "error code", "error message", "filename", "rows written", "size", "sha256", "expires at")
