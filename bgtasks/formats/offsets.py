"""How far a zone is from UTC, by day: a calendar asked once a day instead of once a row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Python's calendar, since the epoch.
FIRST, LAST = datetime.min.replace(tzinfo=UTC) - EPOCH, datetime.max.replace(tzinfo=UTC) - EPOCH
DAY = timedelta(days=1)
#: Of the days that Python knows, the first and the last: where a zone may lead out of the calendar.
FIRST_DAY, LAST_DAY = FIRST.days, LAST.days


class Offset(NamedTuple):
    """Of a whole day of UTC."""

    length: timedelta  #: ahead of UTC
    aware: datetime  #: 1970-01-01 00:00 UTC, with this offset
    epoch: datetime  #: the same, as a clock shows it: without a zone
    text: str  #: as ISO 8601 has it; with seconds where it has some


class Offsets(dict[int, "Offset | None"]):
    """By the number of days since 1970: None where the offset changes on that day, or the calendar ends.

    Such a day's times have to be asked for one by one.
    """

    def __init__(self, zone: tzinfo) -> None:
        super().__init__()
        self._zone = zone

    def __missing__(self, day: int) -> Offset | None:
        known = self[day] = self._of(day)
        return known

    def _of(self, day: int) -> Offset | None:
        if not FIRST_DAY < day < LAST_DAY:
            return None
        begin = EPOCH + day * DAY
        length, at_the_end = (moment.astimezone(self._zone).utcoffset() for moment in (begin, begin + DAY))
        return offset(length) if length is not None and length == at_the_end else None


def offset(length: timedelta) -> Offset:
    """A fixed offset."""
    aware = EPOCH.astimezone(timezone(length))
    epoch = aware.replace(tzinfo=None)
    return Offset(length, aware, epoch, aware.isoformat().removeprefix(epoch.isoformat()))
