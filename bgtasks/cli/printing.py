"""How things are printed: a table on a terminal, lines with tabs in a pipe, and nothing that a terminal would obey."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from rich.console import Console

#: What a terminal would obey, or show where nobody looks for it: controls (of which ESC begins its commands), marks
#: that turn the direction of text, what has no width, tags, and halves of characters. Joiners stay: scripts need them.
UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
#: The same but for the line breaks between the parts of a JSON value, in whose strings there are none.
UNPRINTABLE_IN_JSON = re.compile(UNPRINTABLE.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))

#: The beginning of an id that tells it from others, as a rule.
SHORT = 8
#: Blanks between two columns, and how few letters are left of a text.
GAP, NARROWEST = 2, 7
#: URLs whose host is no secret.
OPEN = ("http", "https", "s3", "gs", "az")
MINUTE, HOUR, DAY = 60, 3_600, 86_400


def printable(value: object) -> str:
    """A text that anybody may have written, in one line and with nothing that a terminal would obey."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), str(value))


def console(*, stderr: bool = False) -> Console:
    """Where tables go: with colours on a terminal, plain in a pipe."""
    from rich.console import Console  # workers load these modules too, and print nothing

    return Console(highlight=False, soft_wrap=True, stderr=stderr)


def say(text: object = "", *, err: bool = False) -> None:
    """One line; what the terminal or the file has no letters for is escaped."""
    stream = sys.stderr if err else sys.stdout
    click.echo(_encodable(printable(text), stream.encoding), err=err)


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str = ""
    is_number: bool = False  #: to the right, and never cut: a number that is cut is another number
    is_rigid: bool = False  #: never cut either
    is_whole: bool = False  #: what does not fit goes on in the next line, and is not cut
    style: str = ""


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """A table on a terminal; in a pipe each row in a line, with tabs and no headings."""
    terminal = console()
    if not terminal.is_terminal:
        for row in rows:
            click.echo(_encodable("\t".join(map(printable, row)), sys.stdout.encoding))
        return
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(_encodable(printable(cell), terminal.encoding)) for cell in row] for row in rows]
    has_names = any(column.name for column in columns)
    made = Table(box=None, header_style="bold", padding=(0, GAP, 0, 0), pad_edge=False, show_header=has_names)
    needed = [max([len(column.name), *(row[at].cell_len for row in cells)]) for at, column in enumerate(columns)]
    for column, width in zip(columns, _fitted(needed, columns, terminal.width), strict=True):
        made.add_column(
            column.name,
            width=width,
            style=column.style,
            justify="right" if column.is_number else "left",
            no_wrap=not column.is_whole,
            overflow="fold" if column.is_whole else "ellipsis",
        )
    for row in cells:
        made.add_row(*row)
    terminal.print(made, soft_wrap=False)


def _fitted(widths: Sequence[int], columns: Sequence[Column], room: int) -> list[int]:
    """The columns' widths: the widest texts make room."""
    widths = list(widths)
    giving = [at for at, column in enumerate(columns) if not (column.is_number or column.is_rigid)]
    while giving and sum(widths) + GAP * (len(widths) - 1) > room:
        widest = max(giving, key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1
    return widths


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values, each in a line; what has no value is left out."""
    table((Column(style="bold", is_rigid=True), Column(is_whole=True)), _with_values(pairs))


def heading(text: str) -> None:
    """The name of the next part, after an empty line."""
    say()
    click.secho(text, bold=True)


def when(moment: datetime | None) -> str:
    """A time in UTC."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def lasting(seconds: float | timedelta | None) -> str:
    """A duration, in the unit that tells it."""
    if seconds is None:
        return ""
    seconds = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f}{name}"
    if seconds >= 1:
        return f"{seconds:.0f}s" if seconds >= 10 else f"{seconds:.1f}s"
    return f"{1000 * max(seconds, 0):.0f}ms"


def ago(moment: datetime) -> str:
    """How long ago, in whole numbers."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return lasting(seconds) if seconds >= 10 else f"{max(seconds, 0):.0f}s"


def size(number: int | None) -> str:
    """Bytes, in the unit that tells them."""
    if number is None:
        return ""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def number(value: int | None) -> str:
    """With commas."""
    return "" if value is None else f"{value:,}"


def place(address: str) -> str:
    """An address or the beginning of a URL: what comes after may be a secret, and with some services all of it is."""
    if "://" not in address:
        return address
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return f"{address.partition('://')[0]}://…"
    return f"{parts.scheme}://{host}{port}/…" if parts.scheme in OPEN else f"{parts.scheme}://…"


def _encodable(text: str, encoding: str | None) -> str:
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _with_values(pairs: Iterable[tuple[str, object]]) -> Iterable[tuple[str, object]]:
    return ((name, value) for name, value in pairs if value not in (None, "", [], ()))
