"""Those who ask: patiently, by every road, some of them twice, and some who change their minds."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from bgtasks import request_file, toolbox
from bgtasks.models import FileRequest
from tests.chaos.scene import Scene
from tests.chaos.timeline import Timeline
from tests.chaos.wishes import Kind, Road, Wish

#: Seconds after which somebody who sees no row asks again.
PATIENCE = 4.0

logger = logging.getLogger(__name__)


class Producers:
    """All of them, on a timeline of their own: who waits for a broker must not keep it from coming back."""

    def __init__(self, scene: Scene, wishes: list[Wish], deadline: float) -> None:
        self._scene, self._wishes = scene, wishes
        self._deadline = deadline  # seconds from the beginning, after which nobody asks again
        self._timeline = Timeline()
        self.asked_again = 0  #: how often somebody saw no row
        self.cancelled: set[str] = set()  #: the names of those that were told that their request is cancelled

    def run(self) -> None:
        """Until everybody's request is in the table."""
        self._scene.app.set_current()  # for this thread
        for wish in self._wishes:
            self._timeline.at(wish.at, functools.partial(self._ask, wish, wish.ids[0]))
            if wish.kind == Kind.TWICE:
                self._timeline.at(wish.at + wish.patience, functools.partial(self._ask, wish, wish.ids[1]))
            if wish.kind == Kind.CANCELLED:
                self._timeline.at(wish.at + wish.patience, functools.partial(self._cancel, wish))
        self._timeline.run()

    def _ask(self, wish: Wish, request_id: str) -> None:
        self._try(_ROADS[wish.road], self._scene, wish, request_id)
        self._timeline.after(PATIENCE, functools.partial(self._look, wish, request_id))

    def _look(self, wish: Wish, request_id: str) -> None:
        """The promise begins with the row: a message that was lost before is its producer's to send again."""
        if self._timeline.now < self._deadline and self._row(wish) is None:
            self.asked_again += 1
            self._ask(wish, request_id)

    def _cancel(self, wish: Wish) -> None:
        row = self._row(wish)
        if row is not None and self._try(toolbox.cancel, row):
            self.cancelled.add(wish.name)
        elif row is None and self._timeline.now < self._deadline:
            self._timeline.after(1, functools.partial(self._cancel, wish))

    def _row(self, wish: Wish) -> FileRequest | None:
        with self._scene.parts.database.reading() as session:
            return session.scalars(select(FileRequest).where(FileRequest.description == wish.name)).first()

    def _try(self, deed: Any, *arguments: Any) -> Any:
        try:
            return deed(*arguments)
        except self._scene.away as error:
            logger.info("%s: %s", deed.__name__, type(error).__name__)
            return None


def _send(_: Scene, wish: Wish, request_id: str) -> None:
    request_file.apply_async((wish.file_type,), dict(_asked(wish)), task_id=request_id)


def _call(_: Scene, wish: Wish, request_id: str) -> None:
    toolbox.add_request(file_type=wish.file_type, id=request_id, schedule=True, **_asked(wish))


def _call_within(scene: Scene, wish: Wish, request_id: str) -> None:
    with scene.parts.database.writing() as session:
        asked = _asked(wish)
        toolbox.add_request(file_type=wish.file_type, id=request_id, schedule=True, session=session, **asked)


_ROADS = {Road.TASK: _send, Road.CALL: _call, Road.TRANSACTION: _call_within}


def _asked(wish: Wish) -> Mapping[str, Any]:
    return {
        "criteria": dict(wish.criteria),
        "requester": wish.requester,
        "description": wish.name,
        "format": wish.format,
        "filename": f"{wish.name}.{wish.format}",
        "idempotency_key": wish.idempotency_key,
    }
