"""The formats that a file can be written in; each is imported when it is first needed."""

from __future__ import annotations

import importlib
from datetime import UTC, tzinfo
from typing import Any, BinaryIO, Protocol, runtime_checkable

from bgtasks.errors import UnknownFormat
from bgtasks.extras import needs as needs
from bgtasks.items import Items

#: The built-in formats: name to module and class.
_BUILT_IN = {"csv": ("bgtasks.formats.csv", "Csv"), "xlsx": ("bgtasks.formats.xlsx", "Xlsx")}


@runtime_checkable
class Format(Protocol):
    """A way to write rows as bytes. Its options are the fields of a frozen dataclass."""

    @property
    def name(self) -> str:
        """What a request chooses it by."""

    @property
    def content_type(self) -> str:
        """The media type."""

    @property
    def suffix(self) -> str:
        """Of the file's name, with the dot."""

    @property
    def max_rows(self) -> int | None:
        """How many rows such a file can hold; None: any number."""

    def write(self, items: Items, buffer: BinaryIO, zone: tzinfo = UTC) -> None:
        """Stream the items into a binary file that can't seek.

        :param zone: where aware times are shown, to be named in the headings (``Rows.headings``); UTC: none is known.
        Raises: UnwritableValue, TooManyRows.
        """


def resolve(chosen: str | Format) -> Format:
    """A format by name, with its default options, or the one that is given. Raises: UnknownFormat."""
    if not isinstance(chosen, str):
        return chosen
    try:
        module, name = _BUILT_IN[chosen]
    except KeyError:
        raise UnknownFormat from None
    made: Any = getattr(importlib.import_module(module), name)
    return made()  # type: ignore[no-any-return]
