"""File types whose code logs, fails and dies."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bgtasks import FileType, registry

logger = logging.getLogger("myapp.exports")


class Chatty(FileType):
    """Two rows, and a word about them."""

    file_type = "chatty"
    columns = ("number",)

    class Criteria(BaseModel):
        word: str = ""
        dies_at: str = ""  #: the path of a file that is not there: the first child that sees that dies
        fails: bool = False

    def get_items(self, criteria: Any) -> Any:
        logger.warning("the items are selected")
        if criteria.fails:
            raise LookupError("a fault")
        if criteria.dies_at and not Path(criteria.dies_at).exists():
            Path(criteria.dies_at).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [(1,), (2,)]


registry.register(Chatty)
