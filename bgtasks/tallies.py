"""What happens, as numbers to add: for whoever counts. Nobody does, unless metrics are on (``bgtasks.metrics``)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from bgtasks.states import EventKind, State

#: Adds to the number of a name (``bgtasks.metrics.numbers`` has them all) and the values of its labels.
Count = Callable[[str, tuple[str, ...], float], None]

#: What entries of the history say of a request's state: it has come into this one.
INTO = {
    EventKind.REQUESTED: State.PENDING,
    EventKind.RETRIED: State.PENDING,
    EventKind.READY: State.READY,
    EventKind.FAILED: State.FAILED,
    EventKind.CANCELLED: State.CANCELLED,
    EventKind.EXPIRED: State.EXPIRED,
}
#: What else is counted by file type alone.
PLAIN = {EventKind.RECOVERED: "lease_recoveries", EventKind.DISPATCHED: "redispatches"}

#: What a label may be that a file type's author has named: a code, a channel. Anything else is ``other``.
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
OTHER = "other"

_WAITING = "bgtasks_to_count"

logger = logging.getLogger(__name__)


class _Counting:
    count: Count | None = None


_counting = _Counting()


def begin(count: Count) -> None:
    """Have somebody count what happens in this process from now on."""
    _counting.count = count


def is_on() -> bool:
    """Whether somebody counts."""
    return _counting.count is not None


def end() -> None:
    """Nobody counts any more."""
    _counting.count = None


def happened(kind: str, row: Any, detail: Any = None) -> None:
    """An entry in the history of a request that is committed; ``detail`` as it is there, where it is a text."""
    if _counting.count is not None:
        for name, labels, value in _numbers(kind, row, detail):
            _add(name, *labels, value=value)


def happens(session: Session, kind: str, row: Any, detail: Any = None) -> None:
    """The same for a session, whose transaction may be rolled back."""
    if _counting.count is None:
        return
    if _WAITING not in session.info:
        session.info[_WAITING] = []
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_rollback", _rolled_back)
    session.info[_WAITING].extend(_numbers(kind, row, detail))


def step(file_type: str, name: str, seconds: float) -> None:
    """A step has ended, well or badly."""
    _add("step_seconds", file_type, name, value=seconds)


def downloaded(file_type: str, *, ranged: bool) -> None:
    """The last byte of a file was handed over."""
    _add("downloads", file_type, "range" if ranged else "whole")


def notified(channel: str, outcome: str) -> None:
    """Somebody was told, or not.

    :param outcome: ``sent``, ``refused`` (for good) or ``away`` (it is tried again).
    """
    _add("notifications", _word(channel.partition(":")[0]), outcome)


def _numbers(kind: str, row: Any, detail: Any) -> Iterator[tuple[str, tuple[str, ...], float]]:
    named = (row.file_type,)
    if (state := INTO.get(EventKind(kind))) is not None:
        yield "requests", (*named, state), 1
    if kind == EventKind.READY:
        yield "bytes_written", named, row.size or 0
        yield "rows_written", named, row.rows_written or 0
    elif kind == EventKind.FAILED:
        yield "failures", (*named, _word(row.error_code)), 1
    elif kind == EventKind.HANDED_BACK:
        yield "hand_backs", (*named, _word(detail)), 1
    elif kind in PLAIN:
        yield PLAIN[EventKind(kind)], named, 1


def _word(text: Any) -> str:
    return text if isinstance(text, str) and WORD.fullmatch(text) else OTHER


def _add(name: str, *labels: str, value: float = 1) -> None:
    if _counting.count is None:
        return
    try:
        _counting.count(name, labels, value)
    except Exception as error:  # whatever it is: nobody's file fails because it could not be counted
        logger.warning("%s could not be counted: %s", name, type(error).__name__)


def _committed(session: Session) -> None:
    if not session.in_nested_transaction():  # or else a savepoint was released, and nothing is committed yet
        waiting, session.info[_WAITING] = session.info[_WAITING], []
        for name, labels, value in waiting:
            _add(name, *labels, value=value)


def _rolled_back(session: Session) -> None:
    if not session.in_nested_transaction():
        session.info[_WAITING] = []
