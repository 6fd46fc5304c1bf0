"""``celery bgtasks init``: a new deployment."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from bgtasks.cli.base import bgtasks, plainly

BEGIN = """\
Next, with Redis or Valkey at redis://127.0.0.1:6379, or at the address that CELERY_BROKER_URL and
CELERY_RESULT_BACKEND have:
"""
#: What a new deployment's owner does first, and where.
COMMANDS = {
    "celery bgtasks migrate": "",
    "REMAP_SIGTERM=SIGQUIT celery worker": "in a terminal of its own",
    "celery beat": "in another one",
    "celery bgtasks request sample --requester me --wait": "",
    "celery bgtasks check": "is it well?",
}
END = """
With no broker at hand: pip install 'celery-bgtasks[dev]', and celery bgtasks dev, which brings one of its own.
README.md has more; a file type of your own begins as tasks/sample.py does."""


@bgtasks.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".")
@plainly
def init(folder: Path) -> None:
    """Write a new deployment: its settings, a key, a file type to begin with, and the sweeps.

    Nothing is overwritten: where something is in the way, nothing is written, and the exit code is 1.
    FOLDER is the working directory unless it is given.

    \b
    Example:
        celery bgtasks init exports
    """
    from bgtasks import scaffold  # workers load this module too

    try:
        names = scaffold.write(folder)
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder}: {error.strerror}") from error
    click.echo(f"Wrote {', '.join(names)}.\n")
    click.echo(BEGIN)
    enter = [] if folder.resolve() == Path.cwd() else [(f"cd {shlex.quote(str(folder))}", "")]
    for command, where in (*enter, *COMMANDS.items()):
        click.echo(f"    {command:<52}# {where}" if where else f"    {command}")
    click.echo(END)
