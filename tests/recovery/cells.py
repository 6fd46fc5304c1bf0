"""The table of faults: each point of each step, and what the protocol says of a death there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bgtasks.canvas import STEPS
from bgtasks.requests import NOTIFY
from bgtasks.states import EventKind
from tests.recovery.asked import Asked
from tests.recovery.scene import Scene
from tests.support.faults import ASKING, Point


class Cell(NamedTuple):
    """A point of a step."""

    step: str
    point: Point

    @property
    def leaves_a_lease(self) -> bool:
        """Whether who dies there holds the request, so that another must take it over and repeat the step."""
        return self.point in (Point.CLAIMED, Point.DONE, Point.ACCEPTED)

    @property
    def loses_a_message(self) -> bool:
        """Whether the request then waits for a message that is in no queue, so that it must be published again."""
        return self.point == Point.DELIVERED or (self.point == Point.WRITTEN and self.step != NOTIFY)

    @property
    def mails(self) -> int:
        """How often the one mail comes: nobody knows whether the server has taken it, so it is sent once more."""
        return 2 if self.point == Point.ACCEPTED else 1


def cells_of(step: str) -> list[Cell]:
    """The points of one step. With the row that request_file stores the promise begins."""
    if step == ASKING:
        return [Cell(step, Point.WRITTEN)]
    last = Point.ACCEPTED if step == NOTIFY else Point.PUBLISHED  # it alone sends mails, and has no next link
    return [Cell(step, point) for point in (Point.DELIVERED, Point.CLAIMED, Point.DONE, Point.WRITTEN, last)]


#: The rows of the table.
ROWS = (ASKING, *STEPS)


def stopped_at(scene: Scene, cells: Iterable[Cell]) -> dict[Cell, Asked]:
    """A request for each point, by which a child has stopped there."""
    requests = {cell: scene.new() for cell in cells}
    for cell, asked in requests.items():
        asked.stop_at(*cell).arm()
        asked.send()
    scene.until_stopped(asked.stop_at(*cell) for cell, asked in requests.items())
    return requests


def assert_are_repaired(requests: dict[Cell, Asked]) -> None:
    """One right file and one mail; the step is repeated where its end was not written, and nowhere else."""
    for cell, asked in requests.items():
        taken_over = {EventKind.RECOVERED: 1} if cell.leaves_a_lease else {}
        asked.assert_is_served(copies=cell.mails, **taken_over)
        assert asked.dispatched == cell.loses_a_message, (cell, asked.tale)
