"""Waking the workers: a request's chain is published as far as its row says that it is outstanding."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from kombu import exceptions

from bgtasks import deployment, registry, stopping
from bgtasks.claims import Claim
from bgtasks.models import FileRequest, Part
from bgtasks.requests.part_writer import Standing

#: How a message is published whose process shall end soon: kombu's policy.
HASTILY = {"max_retries": 1}
#: The broker can't be reached. (A virtual host that does not exist is no OperationalError.)
AWAY = (exceptions.OperationalError, exceptions.ConnectionError)

logger = logging.getLogger(__name__)


def publish(file_request: FileRequest) -> bool:
    """Publish the outstanding steps; False: the broker is away, and the sweep will try again.

    The row must be committed. A message too many does no harm: only one claim is granted.

    Raises: UnknownFileType.
    """
    links = registry.get(file_request.file_type).restore(file_request).canvas(file_request)
    if links is None:
        logger.warning("%r has no step that is left to do: has its type lost one?", Claim.of(file_request))
        return True
    return _send(file_request, links)


def publish_parts(file_request: FileRequest, parts: Sequence[Part]) -> bool:
    """Publish parts that wait for a worker, in the same way."""
    known = registry.get(file_request.file_type).restore(file_request)
    return _send(file_request, known.parts_canvas(file_request, parts)) if parts else True


def publish_standing(standing: Standing) -> None:
    """Publish what comes after a part: those whose turn it is, or with the last one the rest of the chain."""
    if standing.released:
        publish_parts(standing.file_request, standing.released)
    elif standing.file_request.dispatch_at is not None:
        publish(standing.file_request)


def publish_outstanding(request_id: str) -> None:
    """Wake somebody for what is left of a request that does not go on by its chain."""
    row = deployment.current().requests.get(request_id)
    if row is not None and row.dispatch_at is not None:
        publish(row)


def _send(file_request: FileRequest, canvas: Any) -> bool:
    try:
        # A worker that is told to stop has no time to be patient, and what it hands over is due at once.
        canvas.apply_async(**({"retry_policy": HASTILY} if stopping.asked() else {}))
    except AWAY:
        logger.warning("%r: the broker does not take its next step; it is dispatched later", Claim.of(file_request))
        return False
    except exceptions.ChannelError as error:  # RabbitMQ's word on this one queue, if another has declared it otherwise
        logger.error("%r: the broker refuses its next step: %s", Claim.of(file_request), error)
    return True


def queue_of_part(file_request: FileRequest, part: Part) -> str | None:
    """The queue of one of a file's parts; None where its type makes a canvas of its own kind, or is at fault."""
    return _queue(file_request, lambda known: known.parts_canvas(file_request, [part]))


def queue_of(file_request: FileRequest) -> str | None:
    """The queue of a request's next step; None where its type makes a canvas of its own kind, or is at fault."""
    return _queue(file_request, lambda known: known.canvas(file_request))


def _queue(file_request: FileRequest, canvas_of: Callable[[Any], Any]) -> str | None:
    try:
        canvas = canvas_of(registry.get(file_request.file_type).restore(file_request))
        queue = canvas.tasks[0].options["queue"]
    except Exception as error:
        logger.debug("the queue of %r is not known: %s", Claim.of(file_request), type(error).__name__)
        return None
    return str(getattr(queue, "name", queue))


def heavy_queue_of(file_request: FileRequest) -> str | None:
    """The queue where a request goes on that has run out of memory; None: where it was, or its type is at fault."""
    try:
        queue: str | None = registry.get(file_request.file_type).restore(file_request).get_heavy_queue()
    except Exception:
        logger.exception("the heavy queue of %r is not known", Claim.of(file_request))
        return None
    return queue


def attempt(file_request: FileRequest) -> bool:
    """The same for a sweep: one request's fault, in its file type for example, must not keep the others waiting."""
    return _attempted(file_request, lambda: publish(file_request))


def attempt_parts(file_request: FileRequest, parts: Sequence[Part]) -> bool:
    """The same for parts."""
    return _attempted(file_request, lambda: publish_parts(file_request, parts))


def _attempted(file_request: FileRequest, publish: Callable[[], bool]) -> bool:
    try:
        return publish()
    except Exception:
        logger.exception("%r can't be published", Claim.of(file_request))
        return True
