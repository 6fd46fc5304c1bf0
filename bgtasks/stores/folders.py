"""A store on a disk: a folder for each request, and what a killed upload has left there."""

from __future__ import annotations

import contextlib
import functools
import heapq
import logging
import operator
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bgtasks.errors import TransientError
from bgtasks.object_keys import is_folder
from bgtasks.stores.translating import translated

WALK_PAGE = 10_000  # folders of which the names are in memory at once

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folder:
    """The folder of a store."""

    path: Path

    def keys(self, start: str) -> Iterator[str]:
        """Every object's key in order, from a request's on; folders that are empty go."""
        folders = self._folders(functools.partial(operator.le, start))
        while folders:
            for folder in folders:
                yield from self._files(folder)
            folders = self._folders(functools.partial(operator.lt, folders[-1]))

    def remove(self, key: str) -> None:
        """The folder of a request goes with its last object."""
        with contextlib.suppress(OSError):
            (self.path / key.partition("/")[0]).rmdir()

    def _folders(self, wanted: Callable[[str], bool]) -> list[str]:
        """The requests' next folders: of millions no more than these are in memory."""
        with translated(TransientError), os.scandir(self.path) as entries:
            names = (entry.name for entry in entries if is_folder(entry.name) and entry.is_dir(follow_symlinks=False))
            return heapq.nsmallest(WALK_PAGE, filter(wanted, names))

    def _files(self, folder: str) -> list[str]:
        try:
            with os.scandir(f"{self.path}/{folder}") as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:  # removed meanwhile
            return []
        except OSError as error:  # one that can't be read hides no other
            logger.warning("the folder of request %s is left out: %s", folder, error.strerror)
            return []
        if not names:
            self.remove(folder)
        return [f"{folder}/{name}" for name in sorted(names)]
