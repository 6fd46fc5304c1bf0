"""Several files in a ZIP archive, streamed."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import PurePosixPath
from typing import Any, BinaryIO, ClassVar, cast

from sqlalchemy import SelectBase

from bgtasks.errors import ImproperlyConfigured, InvalidCriteria, TransientError, UnknownFormat, UnwritableValue
from bgtasks.filenames import suffix_of
from bgtasks.formats import Format, resolve
from bgtasks.formats.archive import Archive
from bgtasks.formats.member_names import MemberNames
from bgtasks.items import Items, Member, is_arrow
from bgtasks.items.columns import COLUMNS, NO_CHOICE
from bgtasks.items.iterated import is_queryset
from bgtasks.locales import gettext

CHUNK = 256 * 1024  # bytes of a file that are read at once

#: Files that are compressed already; to deflate them again would only take time.
COMPRESSED = (
    *(".7z", ".bz2", ".gz", ".jar", ".rar", ".tgz", ".xz", ".zip", ".zst"),
    *(".docx", ".epub", ".odp", ".ods", ".odt", ".parquet", ".pdf", ".pptx", ".xlsx"),
    *(".avif", ".gif", ".heic", ".jpeg", ".jpg", ".mp3", ".mp4", ".ogg", ".png", ".webm", ".webp", ".woff2"),
)


@dataclass(frozen=True)
class Zip:
    """An archive of the ``Member``s that ``get_items`` returns, written one after the other as they come.

    Rows are written in the format that a member's suffix names; bytes as they are. Where the items are rows and no
    members, the archive has one file. No items make an empty archive.
    """

    name: ClassVar[str] = "zip"
    content_type: ClassVar[str] = "application/zip"
    suffix: ClassVar[str] = ".zip"
    max_rows: ClassVar[int | None] = None

    #: Formats with options, for the members with their suffixes: ``(Csv(delimiter=";"),)``.
    formats: tuple[Format, ...] = ()
    #: What the one file is called, where the items are rows.
    rows: str = "rows.csv"

    def __post_init__(self) -> None:
        self._format(suffix_of(self.rows))

    def write(self, items: Items, buffer: BinaryIO, zone: tzinfo = UTC) -> None:
        """Stream the members. Raises: as their formats, with the member's name; ImproperlyConfigured."""
        archive, is_spent = Archive(buffer), isinstance(items.source, Iterator)
        with _begun(items.source) as (first, contents):
            if is_spent:
                items.source = contents
            try:
                if first is None or isinstance(first, Member):
                    self._write_members(contents, items, archive, zone)
                else:
                    self._write_rows(items, archive, zone)
            finally:
                if is_spent:
                    items.source = _Spent()
        archive.close()

    def _write_members(self, members: Iterable[Member], items: Items, archive: Archive, zone: tzinfo) -> None:
        if items.chosen:  # each member has columns of its own
            raise InvalidCriteria({COLUMNS: [gettext(NO_CHOICE)]})
        names = MemberNames()
        for member in members:
            name = names(member.name)
            with _named(name):
                self._write_member(member, name, items, archive, zone)

    def _write_member(self, member: Member, name: str, items: Items, archive: Archive, zone: tzinfo) -> None:
        suffix = suffix_of(PurePosixPath(name).name).lower()
        with _begun(member.contents) as (first, contents):
            format = self._writer_of(first, suffix)
            with archive.entry(name, deflate=not suffix.endswith(COMPRESSED)) as entry:
                if format is None:
                    entry.writelines(contents)
                else:
                    format.write(items.inner(contents, member.columns), cast("BinaryIO", entry), zone)

    def _write_rows(self, items: Items, archive: Archive, zone: tzinfo) -> None:
        with archive.entry(self.rows, deflate=not self.rows.endswith(COMPRESSED)) as entry:
            self._format(suffix_of(self.rows)).write(items, cast("BinaryIO", entry), zone)

    def _writer_of(self, first: Any, suffix: str) -> Format | None:
        """What writes contents that begin so; None: they are bytes. Raises: ImproperlyConfigured."""
        if isinstance(first, bytes | bytearray | memoryview):
            return None
        try:
            return self._format(suffix)
        except ImproperlyConfigured:
            if first is None:  # there is nothing in it, neither rows nor bytes
                return None
            raise

    def _format(self, suffix: str) -> Format:
        """What writes rows in a file of that suffix. Raises: ImproperlyConfigured."""
        given = next((format for format in self.formats if format.suffix == suffix), None)
        try:
            return given or resolve(suffix.removeprefix("."))
        except UnknownFormat:
            raise ImproperlyConfigured(f"no format writes rows into a file with the suffix {suffix!r}") from None


class _Spent:
    """The source of items that could be read only once."""

    def __iter__(self) -> Iterator[Any]:
        raise TransientError("These rows can be read only once.")


@contextmanager
def _begun(contents: Any) -> Iterator[tuple[Any, Any]]:
    """The first of what can be iterated, None where there is nothing, and all of it.

    The bytes of a file are the first of many, and what only ``Items`` can read begins with some row.
    """
    if isinstance(contents, str):
        yield b"", [contents.encode()]
    elif isinstance(contents, bytes | bytearray | memoryview):
        yield b"", [contents]
    elif callable(getattr(contents, "read", None)) and not _is_rows(contents):
        yield b"", iter(lambda: contents.read(CHUNK), b"")
    elif _is_rows(contents):
        yield (), contents
    else:
        iterator = iter(contents)
        try:
            first = list(itertools.islice(iterator, 1))
            yield (first[0] if first else None), itertools.chain(first, iterator)
        finally:
            if isinstance(iterator, Generator):  # it tidies up now, and not when somebody happens to forget it
                iterator.close()


def _is_rows(contents: Any) -> bool:
    """Whether these are rows that are not to be touched before they are written."""
    return isinstance(contents, SelectBase) or is_queryset(contents) or is_arrow(contents)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """What goes wrong says in which member."""
    try:
        yield
    except UnwritableValue as error:
        raise UnwritableValue(error.fault, row=error.row, column=error.column, member=name) from error
    except Exception as error:
        error.add_note(f"This was while {name!r} was written into the archive.")
        raise
