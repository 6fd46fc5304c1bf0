"""What an object is called in the store: ``<request id>/<fence>``, and nothing that a user typed.

Of a part of a file it is ``<request id>/<fence>.<number>.<part's fence>``; of what the step that has joined the parts
makes of the whole, ``<request id>/<fence>.anew``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

#: How the key of an object ends that a step makes of what it has itself put under its usual one.
ANEW = ".anew"

_REQUEST_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FOLDER = re.compile(_REQUEST_ID)
_FENCE = r"[1-9][0-9]{0,17}"
_PART = rf"\.(0|[1-9][0-9]{{0,8}})\.({_FENCE})"
# On a disk obstore writes to <key>#<n>, and renames that in the end.
_OURS = re.compile(rf"({_REQUEST_ID})/({_FENCE})(?:{_PART}|{re.escape(ANEW)})?(#[0-9]+)?")


@dataclass(frozen=True)
class ObjectKey:
    """The key of an object, or of what a killed upload has staged for it on a disk."""

    text: str  #: as the store has it
    request_id: str
    fence: int
    is_staged: bool
    part: int | None = None  #: the number of the part whose object it is, from 0; None: it is the whole file
    part_fence: int = 0

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None: it is none of ours."""
        found = _OURS.fullmatch(text)
        if found is None:
            return None
        part = () if found[3] is None else (int(found[3]), int(found[4]))
        return cls(text, found[1], int(found[2]), found[5] is not None, *part)


def is_folder(name: str) -> bool:
    """Whether a folder of this name would be a request's."""
    return _FOLDER.fullmatch(name) is not None
