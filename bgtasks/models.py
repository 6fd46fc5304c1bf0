"""The tables. They have their own MetaData, so that they live beside an application's own.

Instances are read only: ``requests.py`` is the one writer of a request's state.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.orm import Mapped, mapped_column

from bgtasks import database
from bgtasks.states import EventKind, State
from bgtasks.tables import Base, Json, NullableJson, RequestId, rows_where
from bgtasks.tables import UtcDateTime as UtcDateTime  # noqa: PLC0414 - for tables of users, who know it from here

BATCH = 100  # rows that to_handle() reads at once

#: It has ended, and there is no file to download (any more).
WITHOUT_FILE = "state IN ('failed', 'cancelled', 'expired')"


def _index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of some of the requests: what leaves out the ended ones stays small, however many there are."""
    return Index(f"ix_bgtasks_file_requests_{name}", *columns, unique=unique, **rows_where(where))


class FileRequest(Base):
    """One request for one file, and the only truth about it."""

    __tablename__ = "bgtasks_file_requests"

    #: A UUID as text: the Celery task id of ``request_file``.
    id: Mapped[str] = mapped_column(RequestId, primary_key=True)
    #: The registered name of the file type; ``""`` for a request that is handled by hand.
    file_type: Mapped[str] = mapped_column(default="")
    #: One of the file type's ``formats``.
    format: Mapped[str] = mapped_column(default="")
    #: What the user chose: a JSON object, or a plain string.
    criteria: Mapped[Any] = mapped_column(Json, default="")
    #: The names of the columns that were chosen, in the file's order; None: all that the file type has.
    columns: Mapped[list[str] | None] = mapped_column(NullableJson)
    #: Who asked, and the only one who may download; None: nobody in particular.
    requester: Mapped[str | None]
    #: Where the requester is told.
    requester_email: Mapped[str | None]
    #: The requester's language, such as ``de`` or ``pt-BR``.
    language: Mapped[str | None]
    #: The requester's time zone, such as ``Europe/Zurich``.
    timezone: Mapped[str | None]
    #: What the file is, in words for its requester.
    description: Mapped[str] = mapped_column(default="")
    #: The name of the finished file, safe on every system.
    filename: Mapped[str] = mapped_column(default="")
    #: The finished file's media type.
    content_type: Mapped[str] = mapped_column(default="")

    state: Mapped[str] = mapped_column(default=State.PENDING)
    #: The last finished step; ``""`` before the first one.
    step: Mapped[str] = mapped_column(default="")
    #: How many times a dead worker's work was taken over.
    attempts: Mapped[int] = mapped_column(default=0)
    #: Grows each time that a step starts or the request changes hands; every state write compares it.
    fence: Mapped[int] = mapped_column(default=0)
    #: The host and the delivery of the step that is at work.
    leased_by: Mapped[str | None]
    #: How long that step holds the request without a sign of life.
    leased_until: Mapped[datetime | None]
    #: While waiting: when to stop believing in the message in the queue. None: the caller handles it.
    dispatch_at: Mapped[datetime | None]
    #: How many times the next step was published again.
    dispatches: Mapped[int] = mapped_column(default=0)

    #: The queue of what is left to do, since it was found to be another than its file type's first one.
    queue: Mapped[str | None]

    #: In how many parts the file is written side by side, and how many are done; None: by one writer.
    parts_total: Mapped[int | None]
    parts_done: Mapped[int | None]

    #: How many rows there were when they were counted; None where they can't be.
    rows_total: Mapped[int | None] = mapped_column(BigInteger)
    rows_written: Mapped[int] = mapped_column(BigInteger, default=0)
    #: Where the finished bytes are in the store: ``<id>/<fence>``.
    object_key: Mapped[str | None]
    #: The store that the object is in, where its file type has one of its own.
    store_url: Mapped[str | None]
    #: Bytes.
    size: Mapped[int | None] = mapped_column(BigInteger)
    #: Of the finished file, in hex.
    sha256: Mapped[str | None]
    #: Why a failed request failed: a stable name, and a sentence for the requester.
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    #: Unique per requester and file type.
    idempotency_key: Mapped[str | None]
    #: A digest of what was asked for, while this request answers for others of the same.
    coalesce_key: Mapped[str | None]
    #: What a download link must name to be valid; a new one revokes the old links.
    token_id: Mapped[str | None]

    requested_at: Mapped[datetime] = mapped_column(default=database.later())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    notified_at: Mapped[datetime | None]
    downloads: Mapped[int] = mapped_column(Integer, default=0)
    last_downloaded_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("requester", "file_type", "idempotency_key"),
        # For which each NULL is another: requests of nobody have their keys here.
        Index(None, "file_type", "idempotency_key", unique=True, **rows_where("requester IS NULL")),
        _index("coalescing", "coalesce_key", unique=True, where="coalesce_key IS NOT NULL"),
        # What the sweeps look for: rows that have ended are in none of these, or in that of their own time alone.
        _index("waiting", "file_type", "dispatch_at", where="dispatch_at IS NOT NULL"),
        _index("leased", "leased_until", where="leased_until IS NOT NULL"),
        _index("ready_until", "expires_at", where="state = 'ready'"),
        _index("expired", "file_type", "expires_at", where="state = 'expired'"),
        _index("without_file", "file_type", "finished_at", where="state IN ('failed', 'cancelled')"),
        _index("leftovers", "id", where=f"object_key IS NOT NULL AND {WITHOUT_FILE}"),
        _index("stores", "store_url", where="store_url IS NOT NULL"),
        # What people ask for, of how many there are of theirs; the newest first.
        _index("live", "requester", "file_type", where="state IN ('pending', 'running')"),
        _index("ready", "file_type", "requested_at", where="state = 'ready'"),
        _index("requesters", "requester", "requested_at", "id", where="requester IS NOT NULL"),
        Index(None, "state", "requested_at", "id"),
        Index(None, "file_type", "requested_at", "id"),
    )

    @classmethod
    def to_handle(cls, file_type: str | None = None) -> Iterator[FileRequest]:
        """The pending requests that nobody else handles, oldest first, read in batches as the loop goes on.

        Requests that were scheduled are left to their chain.

        :param file_type: only requests of this type.
        """
        after: tuple[datetime, str] | None = None
        while batch := cls._pending(file_type, after):
            yield from batch
            after = batch[-1].requested_at, batch[-1].id

    @classmethod
    def _pending(cls, file_type: str | None, after: tuple[datetime, str] | None) -> Sequence[FileRequest]:
        query = select(cls).where(cls.state == State.PENDING, cls.dispatch_at.is_(None), cls.leased_by.is_(None))
        if file_type is not None:
            query = query.where(cls.file_type == file_type)
        if after is not None:
            query = query.where(tuple_(cls.requested_at, cls.id) > after)
        with database.current().reading() as session:
            return session.scalars(query.order_by(cls.requested_at, cls.id).limit(BATCH)).all()

    @property
    def parts_are_out(self) -> bool:
        """Whether its parts are being written now: the request itself waits for nothing, and is in nobody's hands."""
        is_free = self.leased_by is None and self.dispatch_at is None
        return self.state == State.RUNNING and is_free and (self.parts_done or 0) < (self.parts_total or 0)

    @property
    def parts_are_written(self) -> bool:
        """Whether all its parts are done, and the file is still being made."""
        return self.state == State.RUNNING and self.parts_total is not None and self.parts_done == self.parts_total

    @property
    def has_expired(self) -> bool:
        """Whether the file's time is over, whether or not it has been removed yet."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)

    def __repr__(self) -> str:
        return f"<FileRequest {self.id} {self.file_type or 'by hand'} {self.state} #{self.fence}>"


def in_state(*states: State) -> ColumnElement[bool]:
    """Whether a request is in one of these, said in full: an index of some rows is not found by a parameter."""
    said = [literal_column(f"'{state}'", Text()) for state in states]
    return FileRequest.state == said[0] if len(said) == 1 else FileRequest.state.in_(said)


#: The names of a request's columns.
COLUMNS: tuple[str, ...] = tuple(FileRequest.__table__.columns.keys())


class Notification(Base):
    """The ledger: one line for each thing that somebody is to be told, written before and after sending."""

    __tablename__ = "bgtasks_notifications"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    request_id: Mapped[str] = mapped_column(RequestId, ForeignKey(FileRequest.id, ondelete="CASCADE"))
    #: What happened: ``ready``, ``failed``, ``expiring`` or ``cancelled``.
    event: Mapped[str]
    #: The notifier's name, such as ``email``.
    channel: Mapped[str]
    recipient: Mapped[str]
    #: The same on every copy that a crash may cause, so that mail programs show one.
    message_id: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=database.later())
    #: When the service accepted it; None: not yet, or not known.
    sent_at: Mapped[datetime | None]
    #: When the service refused it for good.
    refused_at: Mapped[datetime | None]
    #: Why: a short code, such as SMTP's ``550`` or HTTP's ``410``.
    refusal: Mapped[str | None]

    __table_args__ = (UniqueConstraint("request_id", "event", "channel", "recipient"),)

    @property
    def is_refused(self) -> bool:
        """Whether it was refused, and not told after all.

        A worker of the version before may have sent it nevertheless, or begun it anew: it knows of no refusals.
        """
        return self.sent_at is None and self.refused_at is not None and self.refused_at >= self.created_at


class Event(Base):
    """One entry of a request's history; never changed, but for what is forgotten of a person."""

    __tablename__ = "bgtasks_events"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    request_id: Mapped[str] = mapped_column(RequestId, ForeignKey(FileRequest.id, ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(default=database.later())
    #: See ``states.EventKind``.
    kind: Mapped[str] = mapped_column(default=EventKind.STEP)
    #: The step that was at work, where one was.
    step: Mapped[str] = mapped_column(default="")
    #: The request's fence at that time.
    fence: Mapped[int] = mapped_column(default=0)
    #: Who did it, where that is a person: a downloader, say.
    actor: Mapped[str | None]
    #: An error code, a channel, an address: what the kind needs.
    detail: Mapped[str | None]

    __table_args__ = (Index(None, "request_id", "id"),)


class Part(Base):
    """A range of a file's rows that one of many workers writes: it lives like a request, in small.

    Kept back, until another one is done; waiting, with ``dispatch_at``; leased; or done, with an ``object_key``.
    """

    __tablename__ = "bgtasks_parts"

    request_id: Mapped[str] = mapped_column(RequestId, ForeignKey(FileRequest.id, ondelete="CASCADE"), primary_key=True)
    #: From 0, in the file's order.
    number: Mapped[int] = mapped_column(primary_key=True)
    #: Which rows, as ``parts.ranges`` has it.
    range: Mapped[Any] = mapped_column(Json)
    fence: Mapped[int] = mapped_column(default=0)
    leased_by: Mapped[str | None]
    leased_until: Mapped[datetime | None]
    dispatch_at: Mapped[datetime | None]
    dispatches: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    #: When the message that is believed in was published; None: there is none.
    published_at: Mapped[datetime | None]
    #: Written so far.
    rows: Mapped[int] = mapped_column(BigInteger, default=0)
    #: Where the part's bytes are: ``<request id>/<the request's fence>.<number>.<fence>``.
    object_key: Mapped[str | None]
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None]

    __table_args__ = (
        Index("ix_bgtasks_parts_waiting", "dispatch_at", **rows_where("dispatch_at IS NOT NULL")),
        Index("ix_bgtasks_parts_leased", "leased_until", **rows_where("leased_until IS NOT NULL")),
    )


class Sweep(Base):
    """When each sweep ran for the last time: whoever looks for what is wrong wants to know."""

    __tablename__ = "bgtasks_sweeps"

    #: Such as ``dispatch``.
    name: Mapped[str] = mapped_column(primary_key=True)
    ran_at: Mapped[datetime] = mapped_column(default=database.later())
