"""What an object is called in the store: ``<request id>/<fence>``, and nothing that a user typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_REQUEST_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FOLDER = re.compile(_REQUEST_ID)
# On a disk obstore writes to <key>#<n>, and renames that in the end.
_OURS = re.compile(rf"({_REQUEST_ID})/([1-9][0-9]{{0,17}})(#[0-9]+)?")


@dataclass(frozen=True)
class ObjectKey:
    """The key of an object, or of what a killed upload has staged for it on a disk."""

    text: str  #: as the store has it
    request_id: str
    fence: int
    is_staged: bool

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None: it is none of ours."""
        found = _OURS.fullmatch(text)
        return cls(text, found[1], int(found[2]), found[3] is not None) if found else None


def is_folder(name: str) -> bool:
    """Whether a folder of this name would be a request's."""
    return _FOLDER.fullmatch(name) is not None
