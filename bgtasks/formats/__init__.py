"""The formats that a file can be written in; each is imported when it is first needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from datetime import UTC, tzinfo
from typing import Any, BinaryIO, Protocol, runtime_checkable

from bgtasks.errors import ImproperlyConfigured, UnknownFormat
from bgtasks.extras import needs as needs
from bgtasks.items import Items

#: The built-in formats: name to module and class.
_BUILT_IN = {
    "csv": ("bgtasks.formats.csv", "Csv"),
    "jsonl": ("bgtasks.formats.jsonl", "JsonLines"),
    "parquet": ("bgtasks.formats.parquet", "Parquet"),
    "xlsx": ("bgtasks.formats.xlsx", "Xlsx"),
    "zip": ("bgtasks.formats.zip", "Zip"),
}

#: What may stand behind the name of any text format, such as ``csv.gz``.
COMPRESSIONS = ("gz", "zst")


@runtime_checkable
class Format(Protocol):
    """A way to write rows as bytes. Its options are the fields of a frozen dataclass.

    A format with ``is_text: ClassVar[bool] = True`` may be compressed: ``csv.gz`` is one of its names then.
    One with a method ``part(number: int) -> Format`` may be written in parts: what that format writes for the part
    ``number`` of the rows, from 0, is the whole file when all of it is put together.
    """

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
    name, _, compression = chosen.partition(".")
    if name not in _BUILT_IN:
        raise UnknownFormat
    module, made = _BUILT_IN[name]
    format: Format = getattr(importlib.import_module(module), made)()
    return with_compression(format, compression) if "." in chosen else format


def with_compression(format: Format, compression: str) -> Format:
    """The same format, compressed.

    :param compression: one of ``COMPRESSIONS``.
    Raises: UnknownFormat, for any other, and for a format that is no text.
    """
    if compression not in COMPRESSIONS or not is_text(format):
        raise UnknownFormat
    made: Any = importlib.import_module("bgtasks.formats.compressed")
    return made.Compressed(format, compression)  # type: ignore[no-any-return]


def is_text(format: Format) -> bool:
    """Whether a format is text, which compresses well and says nothing of it itself."""
    return bool(getattr(format, "is_text", False))


def part_of(format: Format, number: int) -> Format:
    """What writes one part of a file, from 0, so that all of them together are the file.

    Raises: ImproperlyConfigured, where the files of a format can't be put together.
    """
    part: Callable[[int], Format] | None = getattr(format, "part", None)
    if part is None:
        raise ImproperlyConfigured(f"{format.name} can't be written in parts: its files can't be put together")
    return part(number)


def has_parts(format: Format) -> bool:
    """Whether the files of a format can be written in parts."""
    try:
        part_of(format, 0)
    except ImproperlyConfigured:
        return False
    return True


def send(pieces: Iterable[bytes | memoryview], buffer: BinaryIO) -> None:
    """Write one piece after the other."""
    for piece in pieces:  # noqa: FURB122 - a file type may put a file of its own between, which has write() alone
        buffer.write(piece)
