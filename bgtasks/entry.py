"""``request_file``: how any producer asks for a file."""

from __future__ import annotations

import logging
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Ignore
from celery.worker.request import Request

from bgtasks import asking, deployment, floods, locales, periods, publishing, results, watching
from bgtasks.columns import columns_of
from bgtasks.errors import OutdatedTables
from bgtasks.models import FileRequest
from bgtasks.patience import is_transient, jitter, persistently
from bgtasks.queues import QUEUE, QueueTask, priorities
from bgtasks.states import LIVE

logger = logging.getLogger(__name__)

#: What is shown of a request_file's arguments, everywhere: criteria and requester are nobody's business.
HIDDEN = "(hidden)"

#: There is no row yet that a sweep could find: while the database is away, the message itself comes again.
MOST_RETRIES, LONGEST_PAUSE = 40, 300.0  # times, seconds
#: The message's header that says when the file was asked for (ISO 8601): a message may wait, or come again.
ASKED_AT = "bgtasks_asked_at"


class HiddenRequest(Request):
    """A worker's view of a message, without its arguments: whatever the producer's Celery has put there."""

    @property
    def argsrepr(self) -> str:
        return HIDDEN

    @property
    def kwargsrepr(self) -> str:
        return HIDDEN

    def info(self, safe: bool = False) -> Any:
        """What ``inspect active`` and Flower's worker page show."""
        return {**super().info(safe=True), "args": HIDDEN, "kwargs": HIDDEN}

    def send_event(self, type: str, **fields: Any) -> None:
        """As Celery's; nothing of a request that has not ended."""
        if fields.get("result") != repr(results.Open()):
            super().send_event(type, **fields)

    @property
    def store_errors(self) -> bool:
        # What a child raises it stores by itself. Of one that is lost, the message comes again: it is no failure.
        return False


class RequestFileTask(QueueTask):
    """Goes to our queue, whoever publishes it, shows no arguments, and needs no result store to be published."""

    Request = HiddenRequest  # type: ignore[assignment]

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """As Celery's."""
        routed = {"queue": QUEUE, "priority": self._priority(*args, **options)}
        hidden = {"argsrepr": HIDDEN, "kwargsrepr": HIDDEN}
        # Celery would subscribe to the result here, which takes long where its store is away. ``get()`` does so too.
        is_ignored = options.get("ignore_result") or False
        told = {ASKED_AT: datetime.now(UTC).isoformat(), **(options.get("headers") or {})}
        unsubscribed = {"ignore_result": True, "headers": {**told, "ignore_result": is_ignored}}
        result = super().apply_async(*args, **{**routed, **hidden, **options, **unsubscribed})
        result.ignored = is_ignored
        return result

    def _priority(self, args: Any = None, kwargs: Any = None, *_: Any, **__: Any) -> int | None:
        """The lowest one for what comes in floods, the next one for all else."""
        known = priorities(self.app)
        file_type = args[0] if args else (kwargs or {}).get("file_type")
        return known.later if floods.ALLOWANCE.take(str(file_type)) else known.first


@shared_task(
    bind=True,
    base=RequestFileTask,
    name="bgtasks.request_file",
    ignore_result=False,
    max_retries=MOST_RETRIES,
    retry_on_worker_lost=True,
    default_retry_delay=2,
)
def request_file(
    self: Task[Any, Any],
    file_type: str,
    criteria: Any = "",
    requester: str | None = None,
    *,
    requester_email: str | None = None,
    format: str = "",
    filename: str | None = None,
    description: str = "",
    content_type: str = "",
    language: str | None = None,
    tz: str | None = None,
    idempotency_key: str | None = None,
    columns: list[str] | None = None,
    once_per: str | None = None,
) -> results.Answer | results.Open:
    """Ask for a file; the task's id is the request's.

    The result is there when the request ends: ``{"id", "state", "filename", "size", "rows", "sha256"}``,
    or RequestFailed. Where an earlier request answers for this one, it is that one's, as it stands, and at once.

    :param file_type: a registered name.
    :param criteria: what its ``Criteria`` accepts, as JSON.
    :param requester: who asks, and the only one who may download.
    :param requester_email: where they are told (default: the requester, if that is an address).
    :param format: one of the file type's formats (default: its first).
    :param filename: the finished file's name.
    :param description: what the file is, in words for its requester.
    :param language: what its requester is told in, such as ``de``; in force in every step.
    :param tz: the zone of times in the file and the mail, such as ``Europe/Zurich``; in force in every step.
    :param idempotency_key: the same again, from the same requester for the same file type, is the same request.
    :param columns: the names of those that the file shall have, in its order (default: all of the file type's).
    :param once_per: ``hour``, ``day``, ``week``, ``month``, ``quarter`` or ``year``, in the zone ``tz``: the same again
        within one of these is the same request. What is the same is said by the ``idempotency_key``, or else by the
        criteria, the format, the columns, the language and the zone together.
    Raises: InvalidRequestId.
    """
    with watching.asking(self.request.id), periods.asked_at(_asked_at(self)):
        asked = columns_of(
            criteria, file_type, requester, content_type, description, language, tz,
            format=format, filename=filename, requester_email=requester_email, idempotency_key=idempotency_key,
            columns=columns, once_per=once_per, id=self.request.id,
        )  # fmt: skip
        file_request = _stored(self, asked)
    if file_request.id != asked["id"]:
        return results.Answer(file_request)
    if file_request.state not in LIVE:
        results.announce(deployment.current().app, file_request)
    if file_request.dispatch_at is not None:
        publishing.publish(file_request)
    return _left_open(self)


def _asked_at(task: Task[Any, Any]) -> datetime | None:
    """When the message was sent, if its producer has said so."""
    try:
        said = datetime.fromisoformat((task.request.headers or {})[ASKED_AT])
    except (KeyError, TypeError, ValueError):
        return None
    # Beside the first year and the last one there is none for another zone, or for "last year".
    return (said if said.tzinfo else said.replace(tzinfo=UTC)) if MINYEAR + 1 < said.year < MAXYEAR - 1 else None


def _left_open(task: Task[Any, Any]) -> results.Open:
    """Neither a success nor a failure yet: whoever ends the request stores its result, and tells the monitors."""
    if task.request.is_eager:
        raise Ignore
    # In place of Ignore, which has Celery write a traceback and carry it to the worker's main process.
    task.request.ignore_result = True
    return results.Open()


def _stored(task: Task[Any, Any], asked: dict[str, Any]) -> FileRequest:
    """The row of a new request, of a refused one, or of the one that answers for it. Raises: Retry, in an outage."""
    try:
        return persistently(lambda: _asked(asked))
    except Exception as error:
        if isinstance(error, OutdatedTables):
            logger.error("a request waits: %s", error)
        elif not is_transient(error):
            raise
        raise task.retry(exc=error, countdown=min(LONGEST_PAUSE, 2.0**task.request.retries) * jitter()) from None


def _asked(asked: dict[str, Any]) -> FileRequest:
    with locales.in_force(asked["language"], asked["timezone"]):
        try:
            return asking.ask(asked, scheduled=True)
        except asking.REFUSALS as refusal:
            return asking.refuse(asked, refusal)
