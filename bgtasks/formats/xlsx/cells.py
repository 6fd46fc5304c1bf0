"""Values as the XML of cells, column by column: what is the same for a column is decided and done once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any, NamedTuple

from bgtasks.formats.cells import Cells, by_ancestor, local, unchanged
from bgtasks.formats.offsets import EPOCH, Offsets
from bgtasks.formats.xlsx.parts import Style
from bgtasks.formats.xlsx.texts import BETWEEN, escaped, fitting

#: Excel computes with doubles: an integer beyond this loses digits.
EXACT_INTEGERS = 2**53
NAIVE_EPOCH = EPOCH.replace(tzinfo=None)
FIRST_SERIAL = 61  # 1 March 1900: before it Excel counts a 29 February 1900 that never was
FROM_ORDINAL = FIRST_SERIAL - date(1900, 3, 1).toordinal()
EPOCH_SERIAL = EPOCH.toordinal() + FROM_ORDINAL
LAST_MOMENT = datetime.max.replace(microsecond=999_000, tzinfo=UTC) - EPOCH  # a later one would be rounded up
DAY = timedelta(days=1)


class Shape(NamedTuple):
    """What stands around a value, after the cell's reference and until the end of the cell."""

    opening: str
    closing: str


def _number(style: Style = Style.PLAIN) -> Shape:
    return Shape(f'" s="{style:d}"><v>' if style else '"><v>', "</v></c>")


def _text(style: Style = Style.PLAIN) -> Shape:
    styled = f' s="{style:d}"' if style else ""
    # Always with its blanks: to find out which texts begin or end with one takes longer than to say so.
    return Shape(f'"{styled} t="inlineStr"><is><t xml:space="preserve">', "</t></is></c>")


NUMBER, TEXT, HEADING, BOOLEAN = _number(), _text(), _text(Style.HEADING), Shape('" t="b"><v>', "</v></c>")

#: From values of one type to what their cells hold; None: one of them is not as the others, and to be written as text.
Convert = Callable[[Sequence[Any]], Sequence[str] | None]
#: For None, among values of one type, until its cell is emptied.
STAND_INS: dict[type, Any] = {str: "", int: 0, float: 0.0, bool: False, Decimal: Decimal(), datetime: EPOCH}
#: What stands in each row, one after the other: a text that is the same in all of them, or each row's own.
Pieces = Iterable[str | Sequence[str]]


class ColumnCells:
    """Makes the cells of a column.

    :param zone: where aware times are shown.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._offsets = Offsets(zone)
        self._as_text = Cells(zone, unchanged)
        self._by_type: dict[type, tuple[Shape, Convert]] = {
            str: (TEXT, escaped),
            int: (NUMBER, _integers),
            float: (NUMBER, _floats),
            bool: (BOOLEAN, _integers),
            Decimal: (TEXT, _decimals),
            datetime: (_number(Style.MOMENT), self._moments),
            date: (_number(Style.DAY), _days),
            time: (_number(Style.CLOCK), _clocks),
            timedelta: (_number(Style.DURATION), _durations),
        }

    def __call__(self, values: Sequence[Any], letters: str, numbers: Sequence[str]) -> Pieces:
        """The XML of each value's cell; empty for None.

        :param letters: the column's, such as ``AB``.
        :param numbers: the rows', of the same length as the values.
        Raises: Refused.
        """
        kinds = set(map(type, values))
        if len(kinds) == 1:
            return self._alike(kinds.pop(), values, letters, numbers)
        some = kinds - {NoneType}
        if len(some) == 1 and some <= STAND_INS.keys():
            return self._with_gaps(some.pop(), values, letters, numbers)
        return [self._mixed(some, values, letters, numbers)]

    def _with_gaps(self, kind: type, values: Sequence[Any], letters: str, numbers: Sequence[str]) -> Pieces:
        """The cells of values of one type, some of which are None."""
        gaps = [place for place, value in enumerate(values) if value is None]
        if len(gaps) > len(values) // 2:  # a stand-in takes as long as a value
            return [self._mixed({kind}, values, letters, numbers)]
        filled = [STAND_INS[kind] if value is None else value for value in values]
        return [_emptied(piece, gaps, len(values)) for piece in self._alike(kind, filled, letters, numbers)]

    def _mixed(self, kinds: set[type], values: Sequence[Any], letters: str, numbers: Sequence[str]) -> list[str]:
        """The cells of values of these types among others that are None."""
        made = [""] * len(values)
        for kind in kinds:
            places = [place for place, value in enumerate(values) if type(value) is kind]
            chosen, theirs = [values[place] for place in places], [numbers[place] for place in places]
            written = _whole(self._alike(kind, chosen, letters, theirs), len(places))
            for place, cell in zip(places, written, strict=True):
                made[place] = cell
        return made

    def _alike(self, kind: type, values: Sequence[Any], letters: str, numbers: Sequence[str]) -> Pieces:
        """The cells of values of one type."""
        if kind is NoneType:
            return []
        if issubclass(kind, Enum):
            return self([value.value for value in values], letters, numbers)
        shape, convert = by_ancestor(self._by_type, kind) or (TEXT, self._texts)
        contents = convert(values)
        if contents is None:
            return [self._with_exceptions(kind, values, letters, numbers)]
        return cells(contents, letters, numbers, shape)

    def _with_exceptions(self, kind: type, values: Sequence[Any], letters: str, numbers: Sequence[str]) -> list[str]:
        """Half of the values, and the other half, until the exception is alone."""
        half = len(values) // 2
        if half == 0:
            return _whole(cells(self._texts(values), letters, numbers, TEXT), 1)
        first = _whole(self._alike(kind, values[:half], letters, numbers[:half]), half)
        return first + _whole(self._alike(kind, values[half:], letters, numbers[half:]), len(values) - half)

    def _texts(self, values: Sequence[Any]) -> list[str]:
        return escaped([str(self._as_text(value)) for value in values])

    def _moments(self, values: Sequence[datetime]) -> list[str] | None:
        """Excel's times have no zone: the requester's local time."""
        since = self._local(values)
        if min(since).days + EPOCH_SERIAL < FIRST_SERIAL:
            return None
        if max(since) > LAST_MOMENT:
            since = [min(moment, LAST_MOMENT) for moment in since]
        # Twelve digits after the point are a double's, and found in half the time that the fewest that do would take.
        numbers = [
            number
            for moment in since
            for number in (
                moment.days + EPOCH_SERIAL,
                ((moment.seconds * 1_000_000 + moment.microseconds) * 625 + 27) // 54,
            )
        ]
        pattern = BETWEEN.join(["%d.%012d"] * len(since))
        return (pattern % tuple(numbers)).split(BETWEEN)

    def _local(self, values: Sequence[datetime]) -> list[timedelta]:
        """How long after 1970 times are by the zone's clock."""
        if None in {value.tzinfo for value in values}:
            return list(map(self._asked, values))
        since = [value - EPOCH for value in values]
        offsets = {day: self._offsets[day] for day in {moment.days for moment in since}}
        if all(offset and not offset.length for offset in offsets.values()):
            return since
        return [
            moment + offset.length if (offset := offsets[moment.days]) else self._asked(value)
            for moment, value in zip(since, values, strict=True)
        ]

    def _asked(self, value: datetime) -> timedelta:
        """The same of one, of which the calendar knows."""
        return local(value, self._zone).replace(tzinfo=None) - NAIVE_EPOCH


def cells(contents: Sequence[str], letters: str, numbers: Sequence[str], shape: Shape) -> Pieces:
    """The XML of one cell for each content."""
    return [f'<c r="{letters}', numbers, shape.opening, contents, shape.closing]


def joined(pieces: Pieces, rows: int) -> str:
    """The pieces of all rows as one text.

    :param rows: how many there are.
    """
    row, own = [""], dict[int, Sequence[str]]()
    for piece in pieces:
        if isinstance(piece, str):
            row[-1] += piece
        else:
            own[len(row)] = piece
            row += "", ""
    table = row * rows
    for place, texts in own.items():
        table[place :: len(row)] = texts
    return "".join(table)


def _emptied(piece: str | Sequence[str], gaps: Iterable[int], rows: int) -> list[str]:
    """A piece of so many rows, but of some of them."""
    texts = [piece] * rows if isinstance(piece, str) else list(piece)
    for place in gaps:
        texts[place] = ""
    return texts


def _whole(pieces: Pieces, rows: int) -> list[str]:
    """The pieces of each row as one text."""
    return joined([*pieces, BETWEEN], rows).split(BETWEEN)[:-1]


def _integers(values: Sequence[int]) -> list[str] | None:
    exact = min(values) >= -EXACT_INTEGERS and max(values) <= EXACT_INTEGERS
    return list(map(int.__repr__, values)) if exact else None


def _floats(values: Sequence[float]) -> list[str] | None:
    """With as many digits as it takes to read the same number."""
    return list(map(float.__repr__, values)) if all(map(math.isfinite, values)) else None


def _decimals(values: Sequence[Decimal]) -> Sequence[str]:
    texts = list(map(Decimal.__str__, values))
    exponents = "E" in "".join(texts)
    return fitting([format(value, "f") for value in values] if exponents else texts)


def _days(values: Sequence[date]) -> list[str] | None:
    serials = [value.toordinal() + FROM_ORDINAL for value in values]
    return list(map(str, serials)) if min(serials) >= FIRST_SERIAL else None


def _clocks(values: Sequence[time]) -> list[str] | None:
    if any(value.tzinfo for value in values):
        return None
    return [repr((datetime.combine(NAIVE_EPOCH, value) - NAIVE_EPOCH) / DAY) for value in values]


def _durations(values: Sequence[timedelta]) -> list[str] | None:
    return [repr(value / DAY) for value in values] if min(values) >= timedelta() else None
