"""``celery bgtasks migrate|process|clean``: what cron and deployments call."""

from __future__ import annotations

import signal
from dataclasses import asdict

import click

from bgtasks import database, engines, settings, stopping, store_urls
from bgtasks.cli.base import LATER, as_json, bgtasks, plainly, print_json
from bgtasks.pacing import Pace
from bgtasks.sweeps import cleaning, noting, processing


@bgtasks.command()
@as_json
@plainly
def migrate(as_json: bool) -> None:
    """Create or upgrade the tables.

    \b
    Example:
        celery bgtasks migrate
    """
    from bgtasks import migrations  # Alembic: workers load this module too, and need none

    target = database.current()
    migrations.upgrade(target)
    where = engines.shown(target.url)
    if as_json:
        print_json({"database": where, "is_up_to_date": True})
        return
    click.echo(f"The tables of bgtasks are up to date in {where}.")


@bgtasks.command()
@click.option("--items", type=click.IntRange(min=1), help="Handle so many requests at most.")
@click.option("--timeout", type=click.FloatRange(min=0), help="Begin no other one after so many seconds.")
@click.option("--sleep", type=click.FloatRange(min=0), default=0, help="Seconds between two requests.")
@as_json
@plainly
def process(items: int | None, timeout: float | None, sleep: float, as_json: bool) -> None:
    """Handle the outstanding requests in this process, with no broker and no worker.

    For cron. It does the same steps under the same claims as workers do, and can run beside them or twice. It ends
    with 0 also if requests have failed: their requesters are told.

    \b
    Example:
        celery bgtasks process --items 20 --timeout 600 --sleep 1
    """
    stopping.listen(signal.SIGTERM)
    done = processing.process(Pace(timeout, sleep, items))
    if as_json:
        print_json(asdict(done))
        return
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
@click.option(
    "--all-orphans", is_flag=True, help="Remove orphans also if the table has no request for most of a store's objects."
)
@click.option(
    "--store",
    "stores",
    multiple=True,
    metavar="URL",
    help="Look for orphans there too: where files were once, and nobody names it any more. May be repeated.",
)
@as_json
@plainly
def clean(
    timeout: float | None,
    sleep: float,
    leeway: float,
    items: int | None,
    all_orphans: bool,
    stores: tuple[str, ...],
    as_json: bool,
) -> None:
    """Remove expired files, old rows, and objects that no row names.

    Beat does the same; this is for cron. It may run beside other runs, and can be stopped at any time:
    the next run goes on where it was. Where the table has no request for most of a store's objects, it is taken for
    another's: none of them is removed, unless you say --all-orphans. With --store that holds for the stores that you
    name alone.

    \b
    Example:
        celery bgtasks clean --timeout 300 --sleep 0.1
        celery bgtasks clean --store s3://former-exports
    """
    _check_stores(stores)
    stopping.listen(signal.SIGINT, signal.SIGTERM)
    with stopping.in_step():
        done = cleaning.clean(pace := Pace(timeout, sleep, items), leeway, all_orphans=all_orphans, stores=stores)
    if done.away is None:
        noting.ran("clean")
    if as_json:
        away = None if done.away is None else cleaning.reason(done.away)
        print_json({**vars(done), "away": away, "is_whole": not pace.is_over and away is None})
    else:
        click.echo(f"Cleaned up: {done}.")
    if done.away is not None:
        raise click.ClickException(f"A service does not answer: {cleaning.reason(done.away)}. {LATER}")
    if pace.is_over and not as_json:
        click.echo(LATER)
    if done.faults or done.spared:
        raise click.ClickException("Not everything could be cleaned: see the messages above.")


def _check_stores(urls: tuple[str, ...]) -> None:
    """Whether each may be a store: a folder that is not there would be made. Raises: click.BadParameter."""
    for url in urls:
        try:
            kind = store_urls.scheme(store_urls.checked(url))
        except ValueError as fault:  # it shows no URL, which may hold a password
            raise click.BadParameter(f"it {fault}", param_hint="--store") from None
        if not kind and not settings.current().path(url).is_dir():
            raise click.BadParameter(f"there is no folder {url}", param_hint="--store")
