"""The names of the files in an archive: safe wherever it is unpacked, and none of them twice."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from bgtasks.filenames import safe, suffix_of

DEPTH = 8  # folders and the file: what a path may have on Windows is 260 characters
_SEPARATORS = re.compile(r"[/\\]+")
_NOWHERE = {"", ".", ".."}
_DRIVE = re.compile(r"\s*[A-Za-z]:")


class MemberNames:
    """Called with the name that somebody has given, gives the one that the archive's file has."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._taken: set[str] = set()  # by files, and by folders
        self._folders: dict[PurePosixPath, PurePosixPath] = {}
        #: The number that a name has come to: those before it are taken, and not tried again.
        self._numbers: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        folder = PurePosixPath()
        *folders, file = safe_parts(name)
        for part in folders:
            folder = self._folder(folder / part)
        path = self._free(folder / file, self._taken)
        self._files.add(_same(path))
        self._taken.add(_same(path))
        return str(path)

    def _folder(self, given: PurePosixPath) -> PurePosixPath:
        if given not in self._folders:
            self._folders[given] = self._free(given, self._files)
            self._taken.add(_same(self._folders[given]))
        return self._folders[given]

    def _free(self, given: PurePosixPath, taken: set[str]) -> PurePosixPath:
        """A path that nothing has yet: ``name (2).csv`` beside ``name.csv``."""
        number = self._numbers.get(_same(given), 1)
        while _same(path := _numbered(given, number)) in taken:
            number += 1
        self._numbers[_same(given)] = number
        return path


def safe_parts(name: str) -> list[str]:
    """A path's parts, of which none leads out of the folder that it is unpacked in.

    >>> safe_parts(r"C:\\..\\2026/flights.csv")
    ['2026', 'flights.csv']
    """
    parts = [safe(part) for part in _SEPARATORS.split(_DRIVE.sub("", name, count=1)) if part.strip() not in _NOWHERE]
    return parts[-DEPTH:] or [safe("")]


def _numbered(path: PurePosixPath, number: int) -> PurePosixPath:
    suffix = suffix_of(path.name)
    return path if number == 1 else path.with_name(f"{path.name.removesuffix(suffix)} ({number}){suffix}")


def _same(path: PurePosixPath) -> str:
    """What is one file for Windows and macOS."""
    return str(path).casefold()
