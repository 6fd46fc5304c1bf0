"""Which columns a file has, in which order, under which headings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from bgtasks.errors import ImproperlyConfigured
from bgtasks.locales import N_, gettext

#: Headings by position; or, by name, the columns that a file has, in its order, and their headings.
Declared = Sequence[str] | Mapping[str, str] | None

#: What a request chooses them by: a field of a form, and what is said of it.
COLUMNS = "columns"
NO_CHOICE = N_("The columns of this file can't be chosen.")


@dataclass(frozen=True)
class Choice:
    """The columns of a file, when it is known what the rows have."""

    headings: tuple[str, ...] | None  #: None: there are no names
    names: tuple[str, ...] | None  #: what programs know them by; None: as the headings
    picked: tuple[int, ...] | None  #: where they are in a row, counted from 0; None: all, as they come

    def of(self, everything: Sequence[Any]) -> list[Any]:
        """What belongs to these columns, of what there is for each column of the rows."""
        return list(everything) if self.picked is None else [everything[number] for number in self.picked]


@dataclass(frozen=True)
class Columns:
    """What a file type says of the columns of its files, and a request of its own."""

    declared: Declared = None
    chosen: tuple[str, ...] = ()  #: names, in the order of this file; none: all

    def choose(self, names: Sequence[str] | None, width: int | None) -> Choice:
        """The columns of rows.

        :param names: those that the rows bring along.
        :param width: how many values the first row has; None: there is none.
        Raises: ImproperlyConfigured, which names a column that they don't have.
        """
        if isinstance(self.declared, Mapping):
            return self._mapped(self.declared, names, width)
        headings = tuple(map(str, self.declared)) if self.declared else None
        own = tuple(names) if names is not None else None
        if not self.chosen:
            return Choice(headings or own, own, None)
        known = own or headings or ()
        picked = tuple(_place(name, known) for name in self.chosen)
        shown = headings if headings and len(headings) == len(known) else known
        return Choice(tuple(shown[number] for number in picked), self.chosen, picked)

    def _mapped(self, declared: Mapping[str, str], names: Sequence[str] | None, width: int | None) -> Choice:
        """By name; rows without names have the mapping's, by position."""
        if names is None and width not in (None, len(declared)):
            raise ImproperlyConfigured(f"the rows have {width} values, and columns name {len(declared)}")
        wanted = self.chosen or tuple(declared)
        headings = tuple(gettext(declared[_known(name, declared)]) for name in wanted)
        known = tuple(declared) if names is None else tuple(names)
        picked = tuple(_place(name, known) for name in wanted)
        return Choice(headings, wanted, None if picked == tuple(range(len(known))) else picked)


def picker(places: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """What gives a row's values at these places as a tuple."""
    if len(places) == 1:
        place = places[0]
        return lambda row: (row[place],)
    return itemgetter(*places) if places else lambda _: ()


def _place(name: str, names: Sequence[str]) -> int:
    return names.index(_known(name, names))


def _known(name: str, names: Iterable[str]) -> str:
    if name not in names:
        raise ImproperlyConfigured(f"the rows have no column {name!r}")
    return name
