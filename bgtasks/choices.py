"""What a request chooses of what a file type offers: one of the formats, some of the columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bgtasks import formats
from bgtasks.errors import InvalidCriteria, UnknownFormat
from bgtasks.formats import COMPRESSIONS, Format
from bgtasks.items.columns import COLUMNS, NO_CHOICE, Declared
from bgtasks.locales import N_, Sentence, gettext, told

UNKNOWN = N_("There is no column %(name)s. Please choose from these: %(known)s.")
TWICE = N_("The column %(name)s is chosen twice.")

#: So much of a name is shown again to whoever has sent it.
SHOWN = 100  # characters


def format_of(offered: Sequence[Format], name: str) -> Format:
    """The format of that name, or a text format and a compression (``csv.gz``); of none, the first one.

    Raises: UnknownFormat.
    """
    for known in offered:
        if name in ("", known.name):
            return known
    plain, _, compression = name.rpartition(".")
    for known in offered:
        if known.name == plain:
            return formats.with_compression(known, compression)
    raise UnknownFormat


def is_compressed(format: Format) -> bool:
    """Whether that is a text format behind a compression."""
    plain, _, compression = format.name.rpartition(".")
    return bool(plain) and compression in COMPRESSIONS


def suffixes(offered: Iterable[Format]) -> list[str]:
    """Those of the formats' files, compressed ones too."""
    return [known.suffix + more for known in offered for more in ("", *(f".{one}" for one in COMPRESSIONS))]


def columns_of(offered: Declared, chosen: Sequence[str]) -> tuple[str, ...]:
    """The chosen names, in their order; none: all.

    :param offered: a file type's ``columns``; only of a mapping there are names to choose.
    Raises: InvalidCriteria, unless each is one of them, and there once.
    """
    if fault := _fault(offered, chosen):
        raise InvalidCriteria({COLUMNS: [fault]})
    return tuple(chosen)


def narrowing(offered: Declared, chosen: Sequence[str]) -> list[str] | None:
    """The choice, where it makes a difference: who names all of them in their order has chosen nothing."""
    return list(chosen) if list(chosen) != list(offered or ()) else None


def _fault(offered: Declared, chosen: Sequence[str]) -> str | None:
    if not chosen:
        return None
    if not isinstance(offered, Mapping):
        return gettext(NO_CHOICE)
    if unknown := [name for name in chosen if name not in offered]:
        return told(Sentence(UNKNOWN, {"name": repr(unknown[0][:SHOWN]), "known": ", ".join(offered)}))
    doubled = [name for name, times in Counter(chosen).items() if times > 1]
    return told(Sentence(TWICE, {"name": repr(doubled[0])})) if doubled else None
