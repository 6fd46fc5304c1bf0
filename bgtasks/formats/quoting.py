"""Cells and lines of CSV, from texts: RFC 4180 with as few quotes as ``csv.writer`` makes by default."""

from __future__ import annotations

import string
from collections.abc import Sequence

END = "\r\n"
#: A line of one empty cell: an empty line would be skipped by readers.
EMPTY_LINE = '""'

#: What numbers, dates, times, UUIDs and the like are made of: a delimiter may be one of these characters.
PLAIN = frozenset(string.ascii_letters + string.digits + "+-.: \\")


class Quoting:
    """What a cell looks like between two delimiters."""

    def __init__(self, delimiter: str) -> None:
        self.delimiter = delimiter
        self.special = (delimiter, '"', "\r", "\n")  #: a text with one of them is quoted
        self.plain_is_safe = delimiter not in PLAIN  #: whether numbers and dates need no look

    def cell(self, text: str) -> str:
        """One text, quoted where it must be."""
        delimiter, quote, cr, lf = self.special
        if delimiter in text or quote in text or lf in text or cr in text:
            return '"' + text.replace('"', '""') + '"'
        return text

    def column(self, texts: Sequence[str]) -> Sequence[str]:
        """Many texts: most columns need no quotes at all, which one look tells."""
        return list(map(self.cell, texts)) if any(map("\0".join(texts).__contains__, self.special)) else texts

    def line(self, texts: Sequence[str]) -> str:
        """A whole line."""
        return (self.delimiter.join(map(self.cell, texts)) if any(texts) or len(texts) != 1 else EMPTY_LINE) + END

    def lines(self, columns: Sequence[Sequence[str]]) -> str:
        """The lines of columns that are quoted already."""
        if len(columns) == 1:
            cells = [cell or EMPTY_LINE for cell in columns[0]]
            return END.join(cells) + END
        return END.join(map(self.delimiter.join, zip(*columns, strict=True))) + END
