"""Publishing after Django's transaction: never before its commit; and after its rollback there is no request.

Our row is in a database of its own, so it is there at once. Django tells nobody of a rollback; but a request's
transactions are over when it is (``request_finished``), and what has not been committed by then is removed. Where a
process dies in between, nobody can tell, and the file is made. It is made, too, where a transaction stays open for so
long that the sweep takes its message for lost (a tenth of ``bgtasks_patience``, where the queue is empty).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.signals import request_finished
from django.db import transaction

from bgtasks import toolbox
from bgtasks.claims import Claim
from bgtasks.database import UNREACHABLE
from bgtasks.models import FileRequest

logger = logging.getLogger(__name__)


@dataclass
class _Asked:
    """A request that was made within a transaction."""

    file_request: FileRequest
    publish: Callable[[], Any]
    using: str | None
    is_committed: bool = False

    def committed(self) -> None:
        self.is_committed = True
        self.publish()


class _Open(threading.local):
    """What was asked for within transactions of this thread's, whose end is not known."""

    def __init__(self) -> None:
        self.asked: list[_Asked] = []


_open = _Open()


def once_committed(file_request: FileRequest, publish: Callable[[], Any], using: str | None = None) -> Any:
    """Publish a new request: now, or after the commit of the transaction that is open. ``publish``'s answer, or True.

    :param using: Django's name of the transaction's database (default: ``default``).
    """
    if not transaction.get_connection(using).in_atomic_block:
        return publish()
    asked = _Asked(file_request, publish, using)
    _open.asked.append(asked)
    # The caller's commit has succeeded by then, and must not look as if it had not.
    transaction.on_commit(asked.committed, using, robust=True)
    return True


def _finished(**_: Any) -> None:
    """A request is over, and with it its transactions (but not those that a test has put around it)."""
    known = [asked for asked in _open.asked if asked.is_committed or not _is_open(asked)]
    _open.asked = [asked for asked in _open.asked if asked not in known]
    for asked in known:
        if not asked.is_committed:
            _remove(asked.file_request)


def _is_open(asked: _Asked) -> bool:
    return bool(transaction.get_connection(asked.using).in_atomic_block)


def _remove(file_request: FileRequest) -> None:
    try:
        toolbox.cancel(file_request, tell=False)
        toolbox.delete(file_request)
    except UNREACHABLE:
        logger.warning("%r: its transaction was rolled back, and it can't be removed", Claim.of(file_request))
    else:
        logger.info("%r is removed: its transaction was rolled back", Claim.of(file_request))


request_finished.connect(_finished, dispatch_uid="bgtasks.contrib.django")
