"""File names that are safe to show, to store and to save under, wherever they came from."""

from __future__ import annotations

import re
import unicodedata

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
_ONLY_A_SUFFIX = re.compile(rf"[._ ]*\.[A-Za-z0-9]{{1,{MAX_SUFFIX}}}")


def safe(name: str, default: str = "file") -> str:
    """The name without path, controls and quotes, short enough for any file system, its suffix kept.

    >>> safe("../../etc/passwd")
    'etc_passwd'
    >>> safe("nul.csv")
    'nul_.csv'
    """
    cleaned = " ".join(_UNSAFE.sub("_", unicodedata.normalize("NFC", name)).split())
    if _ONLY_A_SUFFIX.fullmatch(cleaned):
        cleaned = default + cleaned[cleaned.rindex(".") :]
    cleaned = cleaned.strip(_EDGES) or default
    stem, dot, suffix = cleaned.rpartition(".")
    if not dot or len(suffix.encode()) > MAX_SUFFIX:
        stem, dot, suffix = cleaned, "", ""
    return _undeviced(_cut(stem, MAX_BYTES - len((dot + suffix).encode())) + dot + suffix)


def _cut(text: str, size: int) -> str:
    """The beginning of a text, in so many bytes."""
    encoded = text.encode()
    return text if len(encoded) <= size else encoded[:size].decode(errors="ignore").rstrip(_EDGES)


def _undeviced(name: str) -> str:
    found = _DEVICE.match(name)
    return f"{found[1]}_{name[found.end() :]}" if found else name
