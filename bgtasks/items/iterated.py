"""Rows of anything that can be iterated: sequences, mappings, named tuples, Django querysets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bgtasks.errors import UnwritableValue
from bgtasks.items.batches import batched, looked_at
from bgtasks.items.columns import Choice, Columns, picker
from bgtasks.items.rows import BATCH, Row, Rows


@contextmanager
def iterated(source: Any, columns: Columns, begin: Callable[[Iterable[Any]], Iterator[Any]]) -> Iterator[Rows]:
    """The rows of a source.

    :param begin: ``iter``, or what refuses to read an iterator twice.
    """
    items = begin(source.iterator(chunk_size=BATCH) if is_queryset(source) else source)
    try:
        first = list(itertools.islice(items, 1))
        names = _names(first[0]) or _asked_for(source, first[0]) if first else None
        width = _width(first)
        choice = columns.choose(names, width)
        everything = itertools.chain(first, items)
        if first and isinstance(first[0], Mapping):
            rows = _values(everything, choice)
        else:
            rows = everything if choice.picked is None else _picked(everything, choice.picked)
        yield looked_at(choice, batched(rows, width))
    finally:
        if isinstance(items, Generator):  # it tidies up now, and not when somebody happens to forget it
            items.close()


def is_queryset(source: Any) -> bool:
    """Whether this is a Django queryset: it has a length as well, which loads it whole."""
    return callable(getattr(source, "iterator", None)) and callable(getattr(source, "count", None))


def _names(item: Any) -> tuple[str, ...] | None:
    """The column names that a row brings along. Raises: TypeError, if it is no row."""
    if isinstance(item, str | bytes) or not isinstance(item, Iterable):
        raise TypeError(f"the items of a file are rows (sequences of values, or mappings), not {type(item).__name__}")
    names = item.keys() if isinstance(item, Mapping) else getattr(item, "_fields", None)
    return None if names is None else tuple(map(str, names))


def _asked_for(source: Any, row: Any) -> tuple[str, ...] | None:
    """What a ``values_list()`` of a queryset has asked for by name, where those are all of its columns."""
    names = getattr(source, "_fields", None) if is_queryset(source) else None
    return tuple(map(str, names)) if names and len(names) == len(row) else None


def _width(first: Sequence[Any]) -> int | None:
    return len(first[0]) if first and isinstance(first[0], Collection) else None


def _values(mappings: Iterable[Mapping[Any, Any]], choice: Choice) -> Iterator[Row]:
    """Each mapping's values in the order of the first one's keys, or of the columns."""
    first: Mapping[Any, Any] | None = None
    for number, mapping in enumerate(mappings, 1):
        if first is None:
            first, values = mapping, picker(choice.of(tuple(mapping)))
        if mapping.keys() != first.keys():
            raise UnwritableValue("A row has other columns than the first one", row=number, column="any")
        yield values(mapping)


def _picked(rows: Iterable[Row], places: Sequence[int]) -> Iterator[Row]:
    """Some of each row's values. A row that has more or fewer of them might have them in other places."""
    values, width = picker(places), None
    for number, row in enumerate(map(tuple, rows), 1):
        width = len(row) if width is None else width
        if len(row) != width:
            raise UnwritableValue("A row has more or fewer values than the first one", row=number, column="any")
        yield values(row)
