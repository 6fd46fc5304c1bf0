"""File names that are safe to show, to store and to save under, wherever they came from."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_BYTES = 200  # UTF-8; file systems allow 255, and browsers add " (1)" and ".part"
MAX_SUFFIX = 20

#: Path separators, what Windows forbids, controls, and what can't be seen or turns the text around.
_UNSAFE = re.compile(
    r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff\ud800-\udfff]+'
)
#: What a name neither begins nor ends with: hidden files, and what Windows drops.
_EDGES = "._ "
#: What is a device on Windows, whatever its suffix.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(?=\.|$)", re.IGNORECASE)
_ONLY_A_SUFFIX = re.compile(rf"[._ ]*(\.[A-Za-z0-9]{{1,{MAX_SUFFIX}}}(?:\.(?:gz|zst))?)")
#: Of a compressed file: it says twice what it is.
_TWOFOLD = re.compile(rf"\.[A-Za-z0-9]{{1,{MAX_SUFFIX}}}\.(?:gz|zst)$", re.IGNORECASE)


def safe(name: str, default: str = "file") -> str:
    """The name without path, controls and quotes, short enough for any file system, its suffix kept.

    >>> safe("../../etc/passwd")
    'etc_passwd'
    >>> safe("nul.csv")
    'nul_.csv'
    """
    cleaned = " ".join(_UNSAFE.sub("_", unicodedata.normalize("NFC", name)).split())
    if nameless := _ONLY_A_SUFFIX.fullmatch(cleaned):
        cleaned = default + nameless[1]
    cleaned = cleaned.strip(_EDGES) or default
    suffix = suffix_of(cleaned)
    return _undeviced(_cut(cleaned.removesuffix(suffix), MAX_BYTES - len(suffix.encode())) + suffix)


def suffix_of(name: str) -> str:
    """With its dot, and both of a compressed file; none, where it is too long to be one."""
    if twofold := _TWOFOLD.search(name):
        return twofold[0]
    _, dot, suffix = name.rpartition(".")
    return dot + suffix if dot and len(suffix.encode()) <= MAX_SUFFIX else ""


def resuffixed(name: str, suffix: str, others: Iterable[str]) -> str:
    """The name with this suffix in place of one of the others; a name that has none of them is as it was.

    >>> resuffixed("report.csv", ".csv.gz", [".csv", ".xlsx"])
    'report.csv.gz'
    """
    for other in (suffix, *sorted(others, key=len, reverse=True)):
        if name.lower().endswith(other):
            return name if other == suffix else name[: -len(other)] + suffix
    return name


def _cut(text: str, size: int) -> str:
    """The beginning of a text, in so many bytes."""
    encoded = text.encode()
    return text if len(encoded) <= size else encoded[:size].decode(errors="ignore").rstrip(_EDGES)


def _undeviced(name: str) -> str:
    found = _DEVICE.match(name)
    return f"{found[1]}_{name[found.end() :]}" if found else name
