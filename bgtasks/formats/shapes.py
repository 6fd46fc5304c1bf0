"""The shapes of rows: how many values each has, and what the columns are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Sized

from bgtasks.errors import ImproperlyConfigured, UnwritableValue
from bgtasks.formats.cells import is_unicode
from bgtasks.items import Row


def sized(batch: Sequence[Row]) -> Sequence[Row]:
    """The same rows, of which each has a length: one may be an iterator, which can be looked at only once."""
    return [row if isinstance(row, Sized) else tuple(row) for row in batch]


def unique(what: str, names: Sequence[str]) -> None:
    """Refuse names that no value could be found by.

    :param what: the format, such as ``Parquet``.
    Raises: ImproperlyConfigured, where two columns have one name; UnwritableValue, where one can't be encoded.
    """
    doubled = [name for name, times in Counter(names).items() if times > 1]
    if doubled:
        raise ImproperlyConfigured(f"{what} needs a name of its own for each column: {doubled[0]!r} comes twice")
    if not all(map(is_unicode, names)):
        raise UnwritableValue("A heading is not valid Unicode")


def require_width(batch: Sequence[Row], width: int, done: int) -> None:
    """Refuse rows with more or fewer values than there are columns.

    :param done: how many rows there were before this batch.
    Raises: UnwritableValue.
    """
    if set(map(len, batch)) - {width}:
        number = next(number for number, row in enumerate(batch, done + 1) if len(row) != width)
        raise UnwritableValue("A row has other columns than the first one", row=number, column="any")
