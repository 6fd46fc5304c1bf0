"""Whether the work goes on: the sweeps run, no request waits for long, and people are told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from celery.schedules import maybe_schedule
from sqlalchemy import ColumnElement, and_, exists, func, literal_column, select, type_coerce

from bgtasks.database import later
from bgtasks.doctor.configuration import NEWEST
from bgtasks.doctor.findings import Check, Finding, NotExaminedError, fault, ok, warning
from bgtasks.doctor.subject import Subject
from bgtasks.models import Event, FileRequest, Part, Sweep, UtcDateTime
from bgtasks.requests.part_writer import OUT
from bgtasks.states import LIVE, EventKind, State
from bgtasks.sweeps import SWEEPS

#: A sweep may be late by so many of its intervals, and by so many seconds in any case.
INTERVALS, LEAST = 3, 120.0
#: How long a request may wait for its first step, and be on its way afterwards. Seconds.
WAITING, RUNNING = 3_600.0, 6 * 3_600.0
DAY = 86_400.0
BEAT = "celery beat  # with this app's configuration, on one machine"
WAIT = "wait for that long, then: celery bgtasks check --only sweeps"

#: Its parts are out; it goes on by itself, since they are, or a step waits for a worker or is at work.
_IS_OUT = and_(*OUT)
_IS_SCHEDULED = FileRequest.dispatch_at.is_not(None) | FileRequest.leased_by.is_not(None) | _IS_OUT


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
            turn = _span(timedelta(seconds=interval))
            return warning(f"{name} has not run yet; its turn comes every {turn}.", WAIT)
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
    missed = later(-max(2 * subject.settings.patience, LEAST))
    silent = later(-max(2 * subject.settings.lease, LEAST))
    for what, left in (
        ("should have been dispatched again", FileRequest.dispatch_at < missed),
        ("are held by workers that are gone", FileRequest.leased_until < silent),
        ("have parts that should have been dispatched again", _with_parts(Part.dispatch_at < missed)),
        ("have parts that are held by workers that are gone", _with_parts(Part.leased_until < silent)),
    ):
        count, oldest, types = _count(subject, left)
        if count:
            yield fault(f"{count} {what} ({types}; the oldest was asked for {oldest} ago).", BEAT)


def _slow(subject: Subject) -> Iterator[Finding]:
    waiting = (FileRequest.state == State.PENDING) & _IS_SCHEDULED & (FileRequest.requested_at < later(-WAITING))
    running = (FileRequest.state == State.RUNNING) & (FileRequest.started_at < later(-RUNNING))
    more = "start more workers of that queue: celery worker -Q files.…"
    for what, slow, remedy in (
        ("have waited for over an hour", waiting, more),
        ("have parts for which nobody has done anything for over an hour", _stands_still(), more),
        ("have been on their way for over six hours", running, "celery bgtasks list  # and celery bgtasks show ID"),
    ):
        count, oldest, types = _count(subject, slow)
        if count:
            yield warning(f"{count} {what} ({types}; the oldest was asked for {oldest} ago).", remedy)


def _with_parts(*guards: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a request's parts are out, and one of them is like this."""
    return _IS_OUT & FileRequest.id.in_(select(Part.request_id).where(*guards))


def _stands_still() -> ColumnElement[bool]:
    """Whether parts wait, nobody writes one, and nothing has happened for long."""
    is_at_work = exists(
        select(literal_column("1")).where(Part.request_id == FileRequest.id, Part.leased_by.is_not(None))
    )
    theirs = Event.request_id == FileRequest.id, Event.kind != EventKind.DISPATCHED
    happened = select(func.max(Event.at)).where(*theirs).scalar_subquery()
    return _with_parts(Part.dispatch_at.is_not(None)) & ~is_at_work & (happened < later(-WAITING))


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
    count, _, types = _count(subject, _IS_SCHEDULED, FileRequest.file_type.not_in(known))
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
