"""``celery bgtasks forget``: what a data-protection officer asks for."""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from bgtasks.cli import printing
from bgtasks.cli.base import WrongUse, as_json, bgtasks, plainly, print_json
from bgtasks.cli.people import operator

if TYPE_CHECKING:
    from bgtasks.forgetting import Forgotten

AGAIN = "It is not whole yet: run the same command again."


@bgtasks.command()
@click.option("--requester", required=True, help="Whom to forget, as their requests name them.")
@click.option("--email", "emails", multiple=True, help="An address of theirs beside that name; may be repeated.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@as_json
@plainly
def forget(requester: str, emails: Sequence[str], yes: bool, as_json: bool) -> None:
    """Remove all that there is of a person: requests, files, history, notifications and Celery results.

    What goes on is cancelled first. In other people's requests their name, the addresses that they downloaded from
    and their e-mail addresses are made anonymous. It can be stopped, and run again, at any time: it ends with 1 for
    as long as something is left, since a store was away for example.

    \b
    Example:
        celery bgtasks forget --requester user@example.com --yes
    """
    from bgtasks import deployment, forgetting, stopping
    from bgtasks.pacing import Pace

    if not requester.strip():
        raise WrongUse("--requester is empty: requests of nobody in particular are nobody's.")
    if not yes:
        _confirm(requester, deployment.current().requests.number_of(requester))
    stopping.listen(signal.SIGINT, signal.SIGTERM)
    with stopping.in_step():
        done = forgetting.forget(requester, emails, operator(), Pace())
    if as_json:
        print_json(_as_data(done))
    else:
        printing.say(f"Removed: {done}.")
    if done.away is not None:
        from bgtasks.sweeps.cleaning import reason

        raise click.ClickException(f"A service does not answer: {reason(done.away)}. {AGAIN}")
    if not done.is_whole:
        raise click.ClickException(AGAIN)


def _confirm(requester: str, number: int) -> None:
    if not sys.stdin.isatty():
        raise WrongUse("Nobody can be asked here whether it is meant: give --yes.")
    named = printing.printable(requester)
    question = f"Remove {number} requests of {named} with their files and history, for good?"
    click.confirm(question, abort=True, err=True)


def _as_data(done: Forgotten) -> dict[str, object]:
    counts = {field.name: getattr(done, field.name) for field in dataclasses.fields(done)}
    return {**counts, "away": None if done.away is None else type(done.away).__name__}
