"""Whether the work goes on: the sweeps run, no request waits for long, and people are told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from celery.schedules import maybe_schedule
from sqlalchemy import ColumnElement, func, select, type_coerce

from bgtasks.database import later
from bgtasks.doctor.configuration import NEWEST
from bgtasks.doctor.findings import Check, Finding, NotExaminedError, fault, ok, warning
from bgtasks.doctor.subject import Subject
from bgtasks.models import Event, FileRequest, Sweep, UtcDateTime
from bgtasks.states import LIVE, EventKind, State
from bgtasks.sweeps import SWEEPS

#: A sweep may be late by so many of its intervals, and by so many seconds in any case.
INTERVALS, LEAST = 3, 120.0
#: How long a request may wait for its first step, and be on its way afterwards. Seconds.
WAITING, RUNNING = 3_600.0, 6 * 3_600.0
DAY = 86_400.0
BEAT = "celery beat  # with this app's configuration, on one machine"


def sweeps_check(subject: Subject) -> Iterator[Finding]:
    """Whether beat and a worker run them."""
    with subject.record.reading() as session:
        now = session.execute(_now()).scalar_one()
        ran = {sweep.name: sweep.ran_at for sweep in session.scalars(select(Sweep))}
        old = select(FileRequest.id).where(FileRequest.requested_at < later(-LEAST)).limit(1)
        is_new = session.scalar(old) is None
    if is_new and not ran:
        yield warning("none has run yet; beat begins some seconds after it was started.", BEAT)
        return
    late = {name: found for name in SWEEPS if (found := _lateness(subject, name, ran, now)) is not None}
    yield from late.values()
    if not late:
        yield ok("; ".join(f"{name} ran {_span(now - ran[name])} ago" for name in SWEEPS if name in ran) + ".")


def _now() -> Any:
    return select(type_coerce(later(), UtcDateTime))


def _lateness(subject: Subject, name: str, ran: dict[str, datetime], now: datetime) -> Finding | None:
    interval = _interval(subject, name)
    if name not in ran:
        if any(_lateness(subject, other, ran, now) is None for other in ran):  # its first turn comes after the interval
            return warning(f"{name} has not run yet; its turn comes every {_span(timedelta(seconds=interval))}.")
        return fault(f"{name} has never run: is there a beat, and a worker of the queue bgtasks?", BEAT)
    if (now - ran[name]).total_seconds() <= max(INTERVALS * interval, LEAST):
        return None
    return fault(f"{name} ran {_span(now - ran[name])} ago, and should every {interval:.0f} s.", BEAT)


def _interval(subject: Subject, name: str) -> float:
    """Of the beat entry; of one that has hours and days, a day."""
    for entry in (subject.conf.get("beat_schedule") or {}).values():
        if entry.get("task") == f"bgtasks.{name}":
            chosen = maybe_schedule(entry["schedule"])
            every = getattr(chosen, "run_every", None)
            return float(every.total_seconds()) if every is not None else DAY
    return SWEEPS[name]


def requests_check(subject: Subject) -> Iterator[Finding]:
    """Whether one waits or runs for suspiciously long, or is of a type that nobody here knows."""
    found = [*_left(subject), *_slow(subject), *_unknown(subject)]
    yield from found or [ok("none waits or runs for suspiciously long.")]


def _left(subject: Subject) -> Iterator[Finding]:
    """What the sweeps should have seen to long ago."""
    overdue = FileRequest.dispatch_at < later(-max(2 * subject.settings.patience, LEAST))
    lapsed = FileRequest.leased_until < later(-max(2 * subject.settings.lease, LEAST))
    for what, left in (("should have been dispatched again", overdue), ("are held by workers that are gone", lapsed)):
        count, oldest, types = _count(subject, left)
        if count:
            yield fault(f"{count} {what} ({types}; the oldest was asked for {oldest} ago).", BEAT)


def _slow(subject: Subject) -> Iterator[Finding]:
    is_scheduled = FileRequest.dispatch_at.is_not(None) | FileRequest.leased_by.is_not(None)
    waiting = (FileRequest.state == State.PENDING) & is_scheduled & (FileRequest.requested_at < later(-WAITING))
    running = (FileRequest.state == State.RUNNING) & (FileRequest.started_at < later(-RUNNING))
    for what, slow, remedy in (
        ("have waited for over an hour", waiting, "start more workers of that queue: celery worker -Q files.…"),
        ("have been on their way for over six hours", running, "celery bgtasks list  # and celery bgtasks show ID"),
    ):
        count, oldest, types = _count(subject, slow)
        if count:
            yield warning(f"{count} {what} ({types}; the oldest was asked for {oldest} ago).", remedy)


def _count(subject: Subject, *guards: ColumnElement[bool]) -> tuple[int, str, str]:
    """How many live requests are like this, how long ago the oldest was asked for, and their types."""
    oldest = type_coerce(func.min(FileRequest.requested_at), UtcDateTime)
    chosen = select(FileRequest.file_type, func.count(), oldest).where(FileRequest.state.in_(LIVE), *guards)
    with subject.record.reading() as session:
        rows = session.execute(chosen.group_by(FileRequest.file_type)).all()
        now = session.execute(_now()).scalar_one()
    count = sum(number for _, number, _ in rows)
    types = ", ".join(sorted(file_type or "by hand" for file_type, _, _ in rows))
    return count, _span(now - min(first for _, _, first in rows)) if rows else "", types


def _unknown(subject: Subject) -> Iterator[Finding]:
    try:
        known = subject.file_types.get()
    except Exception as error:
        raise NotExaminedError("the file types") from error
    is_scheduled = FileRequest.dispatch_at.is_not(None) | FileRequest.leased_by.is_not(None)
    count, _, types = _count(subject, is_scheduled, FileRequest.file_type.not_in(known))
    if count:
        yield fault(
            f"{count} are of types that this process does not know: {types}.",
            "name the modules that register them in `imports`, or cancel these requests",
        )


def notifications_check(subject: Subject) -> Iterator[Finding]:
    """How many have failed in the last day."""
    newest = select(func.max(Event.id) - NEWEST).scalar_subquery()
    recent = Event.id > newest, Event.kind == EventKind.NOTIFY_FAILED, Event.at > later(-DAY)
    with subject.record.reading() as session:
        count = session.scalar(select(func.count()).select_from(Event).where(*recent)) or 0
    if count:
        yield warning(
            f"{count} could not be delivered in the last day; the files are there nevertheless.",
            "celery bgtasks check --only mail  # and the log of the workers",
        )
    else:
        yield ok("none has failed in the last day.")


def _span(span: timedelta) -> str:
    """To the second below a minute, to the minute below an hour, and so on."""
    seconds = max(span.total_seconds(), 0)
    for unit, size in (("days", DAY), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


CHECKS = (
    Check("sweeps", "the periodic tasks", sweeps_check),
    Check("requests", "what has not ended", requests_check),
    Check("notifications", "whether people are told", notifications_check),
)
