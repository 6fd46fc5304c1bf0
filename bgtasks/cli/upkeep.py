"""``celery bgtasks migrate|process|clean``: what cron and deployments call."""

from __future__ import annotations

import signal

import click

from bgtasks import database, stopping
from bgtasks.cli.base import LATER, bgtasks, plainly
from bgtasks.pacing import Pace
from bgtasks.sweeps import cleaning, processing


@bgtasks.command()
@plainly
def migrate() -> None:
    """Create or upgrade the tables.

    \b
    Example:
        celery bgtasks migrate
    """
    from bgtasks import migrations  # Alembic: workers load this module too, and need none

    target = database.current()
    migrations.upgrade(target)
    click.echo(f"The tables of bgtasks are up to date in {target.url.render_as_string(hide_password=True)}.")


@bgtasks.command()
@click.option("--items", type=click.IntRange(min=1), help="Handle so many requests at most.")
@click.option("--timeout", type=click.FloatRange(min=0), help="Begin no other one after so many seconds.")
@click.option("--sleep", type=click.FloatRange(min=0), default=0, help="Seconds between two requests.")
@plainly
def process(items: int | None, timeout: float | None, sleep: float) -> None:
    """Handle the outstanding requests in this process, with no broker and no worker.

    For cron. It does the same steps under the same claims as workers do, and can run beside them or twice.

    \b
    Example:
        celery bgtasks process --items 20 --timeout 600 --sleep 1
    """
    stopping.listen(signal.SIGTERM)
    done = processing.process(Pace(timeout, sleep, items))
    click.echo(f"Handled {done.handled}, failed {done.failed}, left to others or for later {done.left}.")


@bgtasks.command()
@click.option("--timeout", type=click.FloatRange(min=0), help="Begin nothing more after so many seconds.")
@click.option("--sleep", type=click.FloatRange(min=0), default=0, help="Seconds between two requests.")
@click.option(
    "--leeway",
    type=click.FloatRange(min=0),
    default=cleaning.LEEWAY,
    show_default=True,
    help="Spare what has expired less than so many seconds ago, since a download may be under way.",
)
@click.option("--items", type=click.IntRange(min=1), help="Look at so many requests and objects at most.")
@plainly
def clean(timeout: float | None, sleep: float, leeway: float, items: int | None) -> None:
    """Remove expired files, old rows, and objects that no row names.

    Beat does the same; this is for cron. It may run beside other runs, and can be stopped at any time:
    the next run goes on where it was.

    \b
    Example:
        celery bgtasks clean --timeout 300 --sleep 0.1
    """
    stopping.listen(signal.SIGINT, signal.SIGTERM)
    with stopping.in_step():
        done = cleaning.clean(pace := Pace(timeout, sleep, items), leeway)
    click.echo(f"Cleaned up: {done}.")
    if done.away is not None:
        raise click.ClickException(f"A service does not answer: {cleaning.reason(done.away)}. {LATER}")
    if pace.is_over:
        click.echo(LATER)
    if done.faults:
        raise click.ClickException("Not everything could be cleaned: see the messages above.")
