"""``celery bgtasks demo|dev``: the whole stack on this machine."""

from __future__ import annotations

from bgtasks import formats
from bgtasks.cli.base import bgtasks, plainly


@bgtasks.command()
@plainly
def demo() -> None:
    """Export real flights from request to download, check everything, and stop.

    \b
    Example:
        celery bgtasks demo
    """
    formats.needs("dev", "bgtasks.dev.demo").demo()


@bgtasks.command()
@plainly
def dev() -> None:
    """Run the whole stack, a site to try it in, and Flower in the foreground, until Ctrl-C.

    \b
    Example:
        celery bgtasks dev
    """
    formats.needs("dev", "bgtasks.dev.foreground").dev()
