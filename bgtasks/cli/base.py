"""What all commands share: the group, the two ways to print, and how errors are said."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any

import click
from celery.bin.base import handle_preload_options

from bgtasks.cli.printing import UNPRINTABLE_IN_JSON, console
from bgtasks.errors import BgtasksError

__all__ = ["LATER", "NotPossible", "NotThere", "WrongUse", "as_json", "bgtasks", "console", "plainly", "print_json"]

LATER = "What is left is for the next run."

#: A program's way to read what a command says.
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class WrongUse(click.ClickException):
    """What is asked for makes no sense."""

    exit_code = 2


class NotThere(click.ClickException):
    """There is no such request."""

    exit_code = 3


class NotPossible(click.ClickException):
    """It can't be done in the state that the request is in."""

    exit_code = 4


@click.group(name="bgtasks")
@click.pass_context
@handle_preload_options
def bgtasks(context: click.Context) -> None:
    """Background files: exports that are made by workers and picked up with a signed link."""
    context.obj.app.set_current()


def plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is wrong is said in a sentence, not in a traceback."""

    @wraps(command)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except BgtasksError as error:
            raise click.ClickException(str(error)) from error
        except Exception as error:
            from bgtasks.patience import is_transient  # SQLAlchemy comes with it
            from bgtasks.sweeps.cleaning import reason

            if not is_transient(error):
                raise
            raise click.ClickException(f"A service does not answer: {reason(error)}.") from error

    return told


def print_json(value: Any) -> None:
    """One JSON value; times are written as ISO 8601, and what a terminal would obey is escaped."""
    has_all_letters = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    text = json.dumps(value, ensure_ascii=not has_all_letters, default=_in_json, indent=2)
    click.echo(UNPRINTABLE_IN_JSON.sub(lambda found: json.dumps(found[0])[1:-1], text))


def _in_json(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
