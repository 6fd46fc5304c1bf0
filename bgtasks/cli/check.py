"""``celery bgtasks check``: is it well?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from bgtasks import control  # noqa: F401 - celery inspect bgtasks_ping is known by it
from bgtasks.cli.base import as_json, bgtasks, console, plainly, print_json

#: The checks' names, for the help: to import the checks themselves takes a while.
NAMES = (
    "settings", "key", "file_types", "base_url", "identity", "broker", "results", "database", "store", "mail",
    "notifiers", "workers", "queues", "clocks", "sweeps", "requests", "notifications",
)  # fmt: skip
STYLES = {"ok": "green", "warning": "yellow", "fault": "bold red", "skipped": "dim"}


@bgtasks.command()
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Examine this alone; may be repeated.")
@click.option("--mail", metavar="ADDRESS", help="Send a test mail there.")
@click.option("--strict", is_flag=True, help="Warnings count as faults.")
@as_json
@click.pass_context
@plainly
def check(context: click.Context, only: tuple[str, ...], mail: str | None, strict: bool, as_json: bool) -> None:
    """Examine the deployment from here, and say how to mend what is wrong.

    Broker, workers, database and the other services need not be there: each check ends within five seconds.
    The exit code is 0 if all was examined and nothing is wrong, and 1 otherwise.

    \b
    Example:
        celery bgtasks check --only broker --only workers
    """
    from bgtasks import doctor  # workers load this module too, and examine nothing

    results = []
    for result in doctor.examine(context.obj.app, only, mail):
        results.append(result)
        if not as_json:
            _print(result)
    counts = Counter(str(result.level) for result in results)
    is_well = not (counts["fault"] or counts["skipped"] or (strict and counts["warning"]))
    if as_json:
        print_json({"well": is_well, "counts": dict(counts), "checks": [_plain(result) for result in results]})
    else:
        console().print(_sum(counts), style="bold")
    context.exit(0 if is_well else 1)


def _print(result: Any) -> None:
    from rich.text import Text

    to = console()
    for found in result.findings:
        line = Text.assemble((f"{found.level:<8}", STYLES[found.level]), (f" {result.check.name:<14}", "bold"))
        to.print(line.append(f" {found.text}"))
        if found.remedy:
            to.print(Text(f"{'':<24}→ {found.remedy}"))


def _plain(result: Any) -> dict[str, Any]:
    findings = [{"level": one.level, "text": one.text, "remedy": one.remedy} for one in result.findings]
    return {"name": result.check.name, "about": result.check.about, "level": result.level, "findings": findings}


def _sum(counts: Counter[str]) -> str:
    names = {"fault": "wrong", "warning": "doubtful", "skipped": "not examined", "ok": "well"}
    return ", ".join(f"{counts[level]} {name}" for level, name in names.items() if counts[level]) + "."
