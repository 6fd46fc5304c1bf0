"""Texts as XML, a column's at once.

Text is handled as its bytes in UTF-8, each of them as the character of Latin-1 that has its number: strings of that
kind are put together faster, and ``encode("latin-1")`` gives the bytes as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bgtasks.errors import Sentence

CELL_CHARACTERS = 32_767  # Excel's limit, in UTF-16 code units

BETWEEN = "\0"  # texts that are escaped together
_CONTROLS = bytes({*range(0x20)} - {0, *b"\t\n"})  # which XML has not; and CR, which a parser would make LF
_NO_CHARACTERS = tuple(character.encode() for character in "\ufffe\uffff")
_ILLEGAL = "\\x00-\\x08\\x0b-\\x1f\\ufffe\\uffff"
#: What becomes ``_xHHHH_`` (ECMA-376, 22.9.2.19): these, and an underscore that would be read as such an escape.
ESCAPED = re.compile(f"[{_ILLEGAL}]|_(?=x[0-9A-Fa-f]{{4}}[_{_ILLEGAL}])")


class Refused(Exception):
    """A value that no cell can hold."""

    def __init__(self, fault: Sentence) -> None:
        super().__init__(str(fault))
        self.fault = fault


TOO_LONG = Sentence("A text is longer than the %(most)s characters that an Excel cell holds", {"most": CELL_CHARACTERS})
NO_UNICODE = Sentence("A text is not valid Unicode")


def escaped(texts: Sequence[str]) -> list[str]:
    """Texts as XML. Raises: Refused."""
    joined = _encoded(fitting(texts))
    made = [] if _has_escapes(joined) else _marked(joined)
    if len(made) == len(texts):
        return made
    return _marked(_encoded([ESCAPED.sub(lambda found: f"_x{ord(found[0]):04X}_", text) for text in texts]))


def fitting(texts: Sequence[str]) -> Sequence[str]:
    """The same ones. Raises: Refused, where one is too long."""
    if max(map(len, texts)) > CELL_CHARACTERS // 2 and max(map(_units, texts)) > CELL_CHARACTERS:
        raise Refused(TOO_LONG)
    return texts


def _marked(joined: bytes) -> list[str]:
    """Each of the texts that were joined; more, where they have zeros of their own."""
    marked = joined.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    return marked.decode("latin-1").split(BETWEEN)


def _encoded(texts: Sequence[str]) -> bytes:
    try:
        return BETWEEN.join(texts).encode()
    except UnicodeEncodeError:
        raise Refused(NO_UNICODE) from None


def _has_escapes(joined: bytes) -> bool:
    """Whether there may be something to escape in texts as they were joined."""
    # One byte is looked for much faster than two or three.
    return (
        (b"_" in joined and b"_x" in joined)
        or len(joined.translate(None, _CONTROLS)) < len(joined)
        or (b"\xef" in joined and any(character in joined for character in _NO_CHARACTERS))
    )


def _units(text: str) -> int:
    """How long Excel finds a text. Raises: Refused."""
    try:
        return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise Refused(NO_UNICODE) from None
