"""Which queue a request waits in: its file type chooses, and what is found out about it may choose another.

A file type's own code is asked here, so what it answers is looked at here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from bgtasks.errors import ImproperlyConfigured
from bgtasks.models import FileRequest


def of(file_type: Any, file_request: FileRequest) -> str:
    """The queue of what is left to do: the one that was found to be right for this row, or its type's first one.

    Raises: ImproperlyConfigured.
    """
    return file_request.queue or ask(file_type, _criteria(file_type, file_request))


def after_counting(file_type: Any, file_request: FileRequest, criteria: Any, count: int | None) -> str | None:
    """Another queue for the rest, now that the rows are counted; None: it stays. Raises: ImproperlyConfigured."""
    if count is None or file_request.queue:  # what was moved for its memory's sake is not moved back
        return None
    chosen = ask(file_type, criteria, count)
    return chosen if chosen != ask(file_type, criteria) else None


def known(file_type: Any) -> list[str]:
    """The queues that can be told without a request: what a plain worker consumes. Raises: ImproperlyConfigured."""
    return list(filter(None, (ask(file_type), file_type.get_heavy_queue())))


def ask(file_type: Any, criteria: Any = None, count: int | None = None) -> str:
    """What ``get_queue`` says. Raises: ImproperlyConfigured."""
    queue = file_type.get_queue(criteria, count) if takes_both(file_type.get_queue) else file_type.get_queue()
    if not isinstance(queue, str) or not queue:
        raise ImproperlyConfigured(f"{type(file_type).__name__}.get_queue must return a queue's name: {queue!r}")
    return queue


def takes_both(get_queue: Callable[..., Any]) -> bool:
    """Whether it is told criteria and count; False: it wants nothing. Raises: TypeError, for other arguments."""
    return _takes_both(getattr(get_queue, "__func__", get_queue), inspect.ismethod(get_queue))


@functools.cache
def _takes_both(function: Callable[..., Any], is_method: bool) -> bool:
    arguments, own = inspect.signature(function), [None] if is_method else []
    try:
        arguments.bind(*own, None, None)
    except TypeError:
        arguments.bind(*own)
        return False
    return True


def _criteria(file_type: Any, file_request: FileRequest) -> Any:
    """The criteria, validated; None where they are not valid: the step that fetches them says so."""
    try:
        return file_type.restore_criteria(file_request)
    except Exception:
        return None
