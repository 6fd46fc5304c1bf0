"""What all commands share: the group, the two ways to print, and how errors are said."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from celery.bin.base import handle_preload_options

from bgtasks.errors import BgtasksError

if TYPE_CHECKING:
    from rich.console import Console

LATER = "What is left is for the next run."

#: A program's way to read what a command says.
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


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

    return told


def print_json(value: Any) -> None:
    """One JSON value; times are written as ISO 8601."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str, indent=2))


def console() -> Console:
    """Where tables go: with colours on a terminal, plain in a pipe."""
    from rich.console import Console  # workers load these modules too, and print nothing

    return Console(highlight=False, soft_wrap=True)
