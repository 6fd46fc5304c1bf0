"""``celery bgtasks …``: the command line, as Celery sub-commands."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from celery.bin.base import handle_preload_options

from bgtasks import database, formats, migrations
from bgtasks.errors import BgtasksError


def plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is wrong is said in a sentence, not in a traceback."""

    @wraps(command)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except BgtasksError as error:
            raise click.ClickException(str(error)) from error

    return told


@click.group(name="bgtasks")
@click.pass_context
@handle_preload_options
def bgtasks(context: click.Context) -> None:
    """Background files: exports that are made by workers and picked up with a signed link."""
    context.obj.app.set_current()


@bgtasks.command()
@plainly
def migrate() -> None:
    """Create or upgrade the tables.

    \b
    Example:
        celery bgtasks migrate
    """
    target = database.current()
    migrations.upgrade(target)
    click.echo(f"The tables of bgtasks are up to date in {target.url.render_as_string(hide_password=True)}.")


@bgtasks.command()
@plainly
def demo() -> None:
    """Export real flights from request to download, check everything, and stop.

    \b
    Example:
        celery bgtasks demo
    """
    formats.needs("dev", "bgtasks.dev").demo()


@bgtasks.command()
@plainly
def dev() -> None:
    """Run the whole stack and Flower in the foreground, until Ctrl-C.

    \b
    Example:
        celery bgtasks dev
    """
    formats.needs("dev", "bgtasks.dev").dev()
