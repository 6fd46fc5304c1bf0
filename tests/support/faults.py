"""Exact points of a step at which a real worker's child stops, so that a test can do to it what it likes.

A worker imports this module (its configuration names it under ``imports``) and finds in the folder that its
environment names where it is to stop. Without that variable nothing is wrapped.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from celery import current_task
from celery.signals import after_task_publish

from bgtasks.claims import Claim
from bgtasks.ledger import Ledger
from bgtasks.requests import NOTIFY, Parting, Requests

#: The variable that names the folder.
FOLDER = "RECOVERY_FAULTS"
#: The task that comes before the steps, where it stands for one.
ASKING = "request_file"


class Point(StrEnum):
    """Where in a step, in the order in which it comes by."""

    DELIVERED = "delivered"  #: the message is acknowledged, nothing is claimed
    CLAIMED = "claimed"  #: the lease is taken, nothing is done
    DONE = "done"  #: the work is done, and the UPDATE that ends the step is not made
    WRITTEN = "written"  #: that UPDATE is committed (of request_file: the INSERT), the next link is not published
    PUBLISHED = "published"  #: the next link is in the queue, the step's own delivery is not over
    ACCEPTED = "accepted"  #: notify alone: the mail server has taken the mail, and the ledger does not know


class Stop:
    """One point of one request's one step: the first child that comes by stays there until it is released."""

    def __init__(self, folder: Path, request_id: str, step: str, point: Point) -> None:
        self._file = folder / f"{request_id}.{step}.{point}"

    def arm(self) -> Stop:
        """Let a child stop there, once."""
        self._path("armed").touch()
        return self

    @property
    def child(self) -> int | None:
        """The process that has stopped there, whatever has become of it; None: nobody has come by."""
        stopped = self._path("stopped")
        return int(stopped.read_text() or 0) or None if stopped.exists() else None

    def release(self) -> None:
        """Let it go on."""
        self._path("released").touch()

    def meet(self) -> None:
        """What a child does that comes by."""
        try:
            self._path("armed").rename(self._path("stopped"))  # atomic: of two children one stops
        except FileNotFoundError:
            return
        self._path("stopped").write_text(str(os.getpid()))
        while not self._path("released").exists():
            time.sleep(0.02)

    def _path(self, what: str) -> Path:
        return self._file.with_name(f"{self._file.name}.{what}")


def install(folder: Path) -> None:
    """Make this process, and the children that it forks, come by the points."""

    def meet(request_id: str, step: str, point: Point) -> None:
        Stop(folder, request_id, step, point).meet()

    def claiming(point: Point) -> Callable[..., None]:
        return lambda _, claim, step, *__, **___: meet(claim.request_id, step, point)

    def ending(point: Point) -> Callable[..., None]:
        return lambda _, held, *__, **___: meet(held.file_request.id, held.step, point)

    def claiming_part(point: Point) -> Callable[..., None]:
        return lambda _, claim, *__, **___: meet(claim.request.request_id, part_step(claim.number), point)

    def ending_part(point: Point) -> Callable[..., None]:
        return lambda _, held, *__, **___: meet(held.file_request.id, part_step(held.part.number), point)

    def published(body: Any, **_: Any) -> None:
        args = body[0] if isinstance(body, (list, tuple)) else ()
        if current_task and args and isinstance(args[0], Claim):  # a link hands its claim on
            meet(args[0].request_id, current_task.name.removeprefix("bgtasks."), Point.PUBLISHED)

    def storing(point: Point) -> Callable[..., None]:
        return lambda _, new, **__: meet(new["id"], ASKING, point)

    _wrap(Requests, "insert", before=storing(Point.DELIVERED), after=storing(Point.WRITTEN))
    _wrap(Requests, "claim", before=claiming(Point.DELIVERED), after=claiming(Point.CLAIMED))
    for name in ("finish", "fail"):
        _wrap(Requests, name, before=ending(Point.DONE), after=ending(Point.WRITTEN))
    _wrap(Parting, "fan_out", before=ending(Point.DONE), after=ending(Point.WRITTEN))
    _wrap(Parting, "claim", before=claiming_part(Point.DELIVERED), after=claiming_part(Point.CLAIMED))
    _wrap(Parting, "finish", before=ending_part(Point.DONE), after=ending_part(Point.WRITTEN))
    _wrap(Ledger, "close", before=lambda _, line: meet(line.request_id, NOTIFY, Point.ACCEPTED))
    after_task_publish.connect(published, weak=False)


def part_step(number: int) -> str:
    """What the writing of one part is called here, as if it were a step."""
    return f"part{number}"


def _wrap(
    cls: type, name: str, before: Callable[..., None] | None = None, after: Callable[..., None] | None = None
) -> None:
    """Come by a point before or after a method, and leave what it does as it is."""
    method = getattr(cls, name)

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args, **kwargs)
        returned = method(*args, **kwargs)
        if after is not None:
            after(*args, **kwargs)
        return returned

    setattr(cls, name, wrapped)


if folder := os.environ.get(FOLDER):
    install(Path(folder))
