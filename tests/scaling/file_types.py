"""File types whose requests have queues to choose from; each file says in which one it was written."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

from celery import current_task
from pydantic import BaseModel

from bgtasks import FileType, registry

BIG = "files.big"
LARGE = 100  # rows


def queue_here() -> str:
    """The queue that this step's message came by."""
    return str(current_task.request.delivery_info["routing_key"]) if current_task else "here"


class Few(FileType):
    """A small file, in the queue that every type has."""

    file_type = "few"
    columns = ("queue",)

    def get_items(self, criteria: Any) -> Any:
        return [(queue_here(),)]


class Many(FileType):
    """So many rows; large files have a queue of their own."""

    file_type = "many"
    columns = ("queue",)

    class Criteria(BaseModel):
        count: int = 1

    def get_queue(self, criteria: Any, count: int | None) -> str:
        return BIG if count is not None and count > LARGE else "files.many"

    def get_items(self, criteria: Any) -> Any:
        return [(queue_here(),)] * criteria.count


class Hungry(FileType):
    """It needs memory that only the workers of its heavy queue have."""

    file_type = "hungry"
    columns = ("queue",)
    queue = "files.many"
    heavy_queue = BIG

    class Criteria(BaseModel):
        end: str = "killed"

    def get_items(self, criteria: Any) -> Iterator[tuple[str]]:
        if queue_here() != BIG:
            self.run_out(criteria.end)
        yield (queue_here(),)

    def run_out(self, end: str) -> None:
        """Meet the limit, in one of the two ways that there are."""
        if end == "killed":  # as the kernel does
            os.kill(os.getpid(), signal.SIGKILL)
        bytearray(1 << 62)


for one in (Few, Many, Hungry):
    registry.register(one)
