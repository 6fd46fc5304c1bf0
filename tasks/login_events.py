"""Who logged in when: an ORM model as an application would have it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from celery import shared_task
from sqlalchemy import Select, func, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bgtasks import FileType, database, registry
from bgtasks.file_types import Dataset
from bgtasks.items import Member
from bgtasks.models import UtcDateTime
from tasks.criteria import DateRange

INLINE = 10_000  # events that are written within the web request
SAMPLE = 25_000  # events that the loading task makes
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


class Base(DeclarativeBase):
    """The application's own tables."""


class LoginEvent(Base):
    """One attempt to log in."""

    __tablename__ = "login_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    username: Mapped[str]
    address: Mapped[str]
    succeeded: Mapped[bool]


class LoginEvents(FileType):
    """The events of a range of days, in UTC. The sample begins on 1 January 2026. A ZIP counts them by name too."""

    file_type = "login_events"
    file_description = "Login events"
    formats = ("csv", "xlsx", "zip")

    criteria_class = DateRange

    def get_items(self, criteria: Any) -> Select[Any] | list[Member]:
        chosen = [LoginEvent.at >= _midnight(criteria.from_date)]
        if criteria.until_date is not None:
            chosen.append(LoginEvent.at < _midnight(criteria.until_date + timedelta(days=1)))
        events = select(LoginEvent).where(*chosen).order_by(LoginEvent.id)
        if self.get_format().name != "zip":
            return events
        number = func.count().label("events")
        by_name = select(LoginEvent.username, number).where(*chosen).group_by(LoginEvent.username)
        return [Member("events.csv", events), Member("by_name.csv", by_name.order_by(LoginEvent.username))]

    def evaluate_dataset(self, dataset: Dataset, http_request: Any) -> None:
        rows = dataset.count()
        dataset.delay = rows is None or rows > INLINE


registry.register(LoginEvents)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


@shared_task(name="login_events.load", ignore_result=False)
def load() -> int:
    """Fill the table with a sample, unless it is filled; how many events there are."""
    source = database.current()
    Base.metadata.create_all(source.engine)
    with source.writing() as session:
        if not session.scalar(select(func.count(LoginEvent.id))):
            session.execute(insert(LoginEvent), list(_sample()))
        return int(session.scalar(select(func.count(LoginEvent.id))) or 0)


def _sample() -> Iterator[dict[str, Any]]:
    names = itertools.cycle(("ada", "grace", "linus", "zoë", "=SUM(1;1)"))
    for number, name in enumerate(itertools.islice(names, SAMPLE)):
        yield {
            "at": FIRST + timedelta(minutes=17 * number),
            "username": name,
            "address": f"192.0.2.{number % 254 + 1}",
            "succeeded": number % 7 != 0,
        }
