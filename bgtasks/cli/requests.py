"""``celery bgtasks list|show``: what there is, and what has become of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from bgtasks.cli import printing
from bgtasks.cli import requests_shown as shown
from bgtasks.cli.base import as_json, bgtasks, plainly, print_json
from bgtasks.cli.printing import Column
from bgtasks.cli.selecting import Since, found
from bgtasks.states import State

if TYPE_CHECKING:
    from bgtasks.models import FileRequest

#: Downloads that are shown to people: the latest.
LATEST = 20


@bgtasks.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in State]),
    help="In this state; may be repeated.",
)
@click.option("--type", "file_types", multiple=True, metavar="FILE_TYPE", help="Of this type; may be repeated.")
@click.option("--requester", help="Of this person.")
@click.option("--since", type=Since(), help="Asked for since then: a time in UTC, or an age such as 90m, 24h or 7d.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="So many at most.")
@click.option("--after", metavar="ID", help="Begin below this one.")
@as_json
@plainly
def list_(
    states: Sequence[str], file_types: Sequence[str], requester: str | None, since: datetime | None, limit: int,
    after: str | None, as_json: bool,
) -> None:  # fmt: skip
    """List requests, the newest first.

    In a pipe each is one line, with tabs: id, type, state, step, requester, rows, size, age, attempts, error code.

    \b
    Example:
        celery bgtasks list --state failed --since 24h
    """
    from bgtasks import deployment

    rows = deployment.current().requests.newest(
        limit + 1,
        states=[State(name) for name in states],
        file_types=file_types,
        requester=requester,
        since=since,
        after=None if after is None else found(after),
    )
    rows, more = rows[:limit], len(rows) > limit
    if as_json:
        print_json({"requests": [shown.brief(row) for row in rows], "next": rows[-1].id if more else None})
        return
    terminal = printing.console()
    if terminal.is_terminal and terminal.width < WIDE:
        printing.table(NARROW, map(_narrow, rows))
    else:
        printing.table(COLUMNS, map(_cells, rows))
    if terminal.is_terminal:
        _say_rest(rows, more)


#: So many letters make room for whole ids, and for each thing in a column of its own.
WIDE = 150
ID, STATE = Column("id", is_rigid=True), Column("state", is_rigid=True)
NUMBERS = tuple(Column(name, is_number=True) for name in ("rows", "size", "age", "try"))
COLUMNS = (ID, Column("type"), STATE, Column("step"), Column("requester"), *NUMBERS, Column("error"))
NARROW = (ID, Column("type"), STATE, Column("requester"), *NUMBERS)


def _cells(row: FileRequest) -> list[object]:
    type_, requester, *numbers = _common(row)
    return [row.id, type_, row.state, shown.doing(row), requester, *numbers, row.error_code or ""]


def _narrow(row: FileRequest) -> list[object]:
    type_, requester, *numbers = _common(row)
    return [row.id[: printing.SHORT], type_, shown.standing(row), requester, *numbers]


def _common(row: FileRequest) -> list[object]:
    rows, size = printing.number(row.rows_written or row.rows_total), printing.size(row.size)
    return [row.file_type or "by hand", row.requester or "", rows, size, printing.ago(row.requested_at), row.attempts]


def _say_rest(rows: Sequence[FileRequest], more: bool) -> None:
    if not rows:
        printing.say("There is no such request.")
    elif more:
        printing.say(f"\u2026 more with --after {rows[-1].id[: printing.SHORT]}")


@bgtasks.command()
@click.argument("id")
@as_json
@plainly
def show(id: str, as_json: bool) -> None:
    """Show all of a request: who asked, what has happened, who was told, and who has downloaded the file; and how its
    parts stand, while many workers write them.

    ID may be the beginning of one, if no other id begins like it. Times are UTC. How long a step took counts from
    the end of the one before, so that waiting in a queue is in it. Links and keys are never shown.

    \b
    Example:
        celery bgtasks show 3f2a9c1b
    """
    from bgtasks import deployment

    row = found(id)
    record = deployment.current().requests
    history, ledger = record.history(row.id), record.notifications(row.id)
    timeline, downloads = shown.timeline(row, history), shown.downloads(history)
    notifications = shown.notified(ledger)
    parts = shown.parts(deployment.current().parting.of(row.id)) if row.parts_total else []
    if as_json:
        tables = {"parts": parts, "timeline": timeline, "downloads": downloads, "notifications": notifications}
        print_json({"request": shown.whole(row), **tables})
        return
    printing.fields(shown.lines(row))
    if parts:
        printing.heading("Parts")
        printing.table(PARTS, map(_part, parts))
    printing.heading("Timeline")
    printing.table(TIMELINE, map(_entry, timeline))
    if notifications:
        printing.heading("Notifications")
        printing.table(NOTIFICATIONS, map(_line, notifications))
    if downloads:
        printing.heading(
            "Downloads" if len(downloads) <= LATEST else f"Downloads: the last {LATEST} of {len(downloads)}"
        )
        printing.table(DOWNLOADS, map(_download, downloads[-LATEST:]))


AT, BY = Column("at", is_rigid=True), Column("by", is_whole=True)
TIMELINE = (AT, Column("what"), Column("step"), Column("took", is_number=True), BY, Column("detail", is_whole=True))
NOTIFICATIONS = (
    Column("sent", is_rigid=True), Column("event"), Column("channel"), Column("recipient", is_whole=True),
    Column("detail", is_whole=True),
)  # fmt: skip
DOWNLOADS = (AT, BY, Column("address", is_whole=True))


PARTS = (
    Column("part", is_number=True), Column("state", is_rigid=True), Column("rows", is_number=True),
    Column("size", is_number=True), Column("try", is_number=True), Column("worker", is_whole=True),
)  # fmt: skip


def _part(part: dict[str, Any]) -> list[object]:
    state, worker = part["state"].replace("_", " "), (part["leased_by"] or "").partition(" ")[0]
    return [part["number"], state, printing.number(part["rows"]), printing.size(part["size"]), part["attempts"], worker]


def _entry(entry: dict[str, Any]) -> list[object]:
    took = printing.lasting(entry["seconds"])
    return [printing.when(entry["at"]), entry["kind"], entry["step"], took, entry["by"] or "", entry["detail"] or ""]


def _line(line: dict[str, Any]) -> list[object]:
    told = [line["event"], line["channel"], line["recipient"]]
    if line["refused_at"] is not None:
        return ["refused", *told, f"{line['refusal']}, {printing.when(line['refused_at'])}"]
    return [printing.when(line["sent_at"]) or "not known", *told, ""]


def _download(download: dict[str, Any]) -> list[object]:
    return [printing.when(download["at"]), download["by"] or "(nobody known)", download["address"] or ""]
