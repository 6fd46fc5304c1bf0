"""The chain of a request, as Celery signatures by task name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Celery, chain
from kombu.transport import get_transport_cls

from bgtasks import settings
from bgtasks.claims import Claim
from bgtasks.models import FileRequest
from bgtasks.states import State

#: The queue of request_file and of the sweeps.
QUEUE = "bgtasks"

#: The steps, in the order in which they run.
STEPS = ("fetch_criteria", "build_items", "write_bytes", "attach", "tokenize", "notify")

#: Priorities as (first link, later links), by kombu's name of the broker's kind: requests that have been
#: started go first. Redis serves 0 first, RabbitMQ the highest number.
_PRIORITIES = {"redis": (9, 3), "amqp": (1, 5)}


def task_name(step: str) -> str:
    """The Celery task of a step."""
    return f"bgtasks.{step}"


def queue_of(file_type: str) -> str:
    """The queue of a file type, unless the type names another."""
    return f"files.{file_type}"


def following(steps: Sequence[str], file_request: FileRequest) -> tuple[str, ...]:
    """The steps whose outcome is not on the row; of an ended request only the telling is left."""
    if file_request.state == State.FAILED:
        return ("notify",) if file_request.step != "notify" and "notify" in steps else ()
    if file_request.state == State.READY and file_request.dispatch_at is None:
        return ()  # attached by hand, or told already, or being told
    if not file_request.step:
        return tuple(steps)
    return tuple(steps[steps.index(file_request.step) + 1 :]) if file_request.step in steps else ()


def build(
    file_request: FileRequest, steps: Sequence[str], queue: str, options: dict[str, Any], app: Celery | None = None
) -> Any:
    """The chain of a request's outstanding steps, from the row as it is; None where nothing is left.

    :param options: more for each link's ``apply_async``.
    """
    app = app or settings.this_app()
    first, later = _PRIORITIES.get(_broker_kind(app), (None, None))
    links = []
    for number, step in enumerate(following(steps, file_request)):
        has_begun = number > 0 or file_request.step != ""
        link = app.signature(task_name(step), args=() if number else (Claim.of(file_request),))
        routed = {"queue": queue, "priority": later if has_begun else first, "ignore_result": True}
        links.append(link.set(**{**routed, **options}))
    return chain(*links, app=app) if links else None


def _broker_kind(app: Celery) -> str:
    transport: Any = get_transport_cls((app.conf.broker_url or "memory").partition(":")[0])
    return str(transport.driver_type)
