"""Days in words: which they are, where the requester is, and that they are settled once."""

from __future__ import annotations

import calendar
import zoneinfo
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from celery.exceptions import Retry
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import text

from bgtasks import FileType, entry, locales, periods, registry, request_file, toolbox
from bgtasks.criteria import settled, validate
from bgtasks.deployment import Deployment
from bgtasks.errors import InvalidCriteria
from bgtasks.periods import FirstDay, LastDay

MONDAY = date(2026, 11, 23)
DAYS = st.dates(date(1900, 1, 1), date(2100, 12, 31))
MOMENTS = st.datetimes(datetime(1972, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
ZONES = st.sampled_from(sorted(zoneinfo.available_timezones() - {"localtime"}))
#: Whose clocks have skipped midnight, a whole day, or have had an hour twice.
ODD_ZONES = ("America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia", "America/Havana", "Atlantic/Azores", "Africa/Cairo")


class Days(BaseModel):
    """Criteria with days that may be told in words."""

    first: FirstDay
    last: LastDay | None = None
    note: str = ""


class Report(FileType):
    """A file of some days."""

    file_type = "report"
    formats = ("csv",)
    criteria_class = Days

    def get_items(self, criteria: Any) -> Any:
        return [(criteria.first, criteria.last)]


@pytest.mark.parametrize(
    ("words", "first", "last"),
    [
        ("today", "2026-11-23", "2026-11-23"),
        ("yesterday", "2026-11-22", "2026-11-22"),
        ("tomorrow", "2026-11-24", "2026-11-24"),
        ("this week", "2026-11-23", "2026-11-29"),
        ("last week", "2026-11-16", "2026-11-22"),
        ("next week", "2026-11-30", "2026-12-06"),
        ("last 7 days", "2026-11-16", "2026-11-22"),
        ("last 2 weeks", "2026-11-09", "2026-11-22"),
        ("last month", "2026-10-01", "2026-10-31"),
        ("last 12 months", "2025-11-01", "2026-10-31"),
        ("this quarter", "2026-10-01", "2026-12-31"),
        ("last quarter", "2026-07-01", "2026-09-30"),
        ("this year", "2026-01-01", "2026-12-31"),
        ("last year", "2025-01-01", "2025-12-31"),
    ],
)
def test_what_words_mean_on_a_monday_in_november(words: str, first: str, last: str) -> None:
    """Whole ones; weeks begin on Monday."""
    assert periods.of(words, MONDAY) == (date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    "words", ["", "week", "last fortnight", "last 0 days", "this 3 weeks", "last 9999 years", "Last"]
)
def test_other_words_mean_nothing(words: str) -> None:
    """They are told as what they are: no date."""
    assert periods.of(words, MONDAY) is None
    with pytest.raises(InvalidCriteria) as invalid:
        validate(Days, {"first": words}, None)
    assert list(invalid.value.fields) == ["first"]


@given(DAYS, st.sampled_from(["week", "month", "quarter", "year"]))
def test_units_follow_each_other_without_a_gap(day: date, unit: str) -> None:
    """The last one, this one and the next one; the day is in this one."""
    last, this, following = (periods.of(f"{which} {unit}", day) for which in ("last", "this", "next"))
    assert last is not None
    assert this is not None
    assert following is not None
    assert this.first <= day <= this.last
    assert last.last + timedelta(days=1) == this.first
    assert this.last + timedelta(days=1) == following.first
    if unit == "week":
        assert (this.first.weekday(), this.last.weekday()) == (calendar.MONDAY, calendar.SUNDAY)
        assert this.first.isocalendar()[:2] == day.isocalendar()[:2]
    else:
        assert this.first.day == 1
        assert this.first.year == day.year


@given(DAYS, st.integers(1, 40), st.sampled_from(["day", "week", "month", "quarter", "year"]))
def test_several_units_are_as_long_as_one_after_the_other(day: date, number: int, unit: str) -> None:
    """``last 3 months`` is the last one, and what was the last one then, and so on."""
    several, single = periods.of(f"last {number} {unit}s", day), periods.Period(day, day)
    for _ in range(number):
        found = periods.of(f"last {unit}", single.first)
        assert found is not None
        single = found
    assert several is not None
    assert several.first == single.first


@given(MOMENTS, ZONES)
def test_a_day_is_that_of_the_requesters_clock(moment: datetime, zone: str) -> None:
    """Wherever that is, and whatever its clocks do."""
    with locales.in_force("en", zone), periods.asked_at(moment):
        assert periods.today() == moment.astimezone(zoneinfo.ZoneInfo(zone)).date()
        assert periods.start_of(periods.today()) <= moment


@given(DAYS.filter(lambda day: 1972 <= day.year <= 2037), st.one_of(ZONES, st.sampled_from(ODD_ZONES)))
def test_a_day_begins_where_the_one_before_it_ends(day: date, name: str) -> None:
    """The moment is the first one that is shown as this day: none is lost, and none is in two days."""
    zone = zoneinfo.ZoneInfo(name)
    with locales.in_force("en", name):
        begins = periods.start_of(day)
    before = (begins - timedelta(seconds=1)).astimezone(zone).date()
    assert before < day <= begins.astimezone(zone).date()


def test_midnight_may_not_exist() -> None:
    """In Sao Paulo that day began at one o'clock; and there was no 30 December 2011 in Samoa."""
    with locales.in_force("en", "America/Sao_Paulo"):
        assert periods.start_of(date(2017, 10, 15)) == datetime(2017, 10, 15, 3, tzinfo=UTC)
    with locales.in_force("en", "Pacific/Apia"):
        assert periods.start_of(date(2011, 12, 30)) == periods.start_of(date(2011, 12, 31))


@given(MOMENTS, ZONES, st.sampled_from(periods.UNITS))
def test_an_occurrence_has_one_name_from_its_beginning_to_its_end(moment: datetime, zone: str, unit: str) -> None:
    """The same a second later, unless another one has begun; the same a year later never."""

    def named(when: datetime) -> str:
        with periods.asked_at(when):
            return periods.occurrence(unit, zone)

    assert named(moment) != named(moment + timedelta(days=367))
    if unit in ("day", "week"):
        start = moment.astimezone(zoneinfo.ZoneInfo(zone))
        later = moment + timedelta(hours=1)
        same = later.astimezone(zoneinfo.ZoneInfo(zone)).date() == start.date()
        assert (named(moment) == named(later)) or not same


def test_an_hour_that_clocks_show_twice_is_two_hours() -> None:
    """In autumn, half past one comes twice in New York."""
    names = set()
    for utc in (5, 6):
        with periods.asked_at(datetime(2026, 11, 1, utc, 30, tzinfo=UTC)):
            names.add(periods.occurrence("hour", "America/New_York"))
    assert len(names) == 2


def test_criteria_are_settled_to_days_once() -> None:
    """What is stored has no words any more, and means the same whenever it is read."""
    with periods.asked_at(datetime(2026, 11, 23, 12, tzinfo=UTC)):
        stored = settled(Days, {"first": "last week", "last": "last week", "note": "today"}, None)
    assert stored == {"first": "2026-11-16", "last": "2026-11-22", "note": "today"}
    assert settled(Days, stored, None) == stored
    assert validate(Days, stored, None).first == date(2026, 11, 16)


@pytest.mark.parametrize(
    "given_", [{"first": "2026-01-01", "note": "today"}, {"first": "last fortnight"}, "last week", []]
)
def test_what_has_no_period_stays_as_it_is(given_: Any) -> None:
    """To the letter: nobody wants defaults added to what was asked, or a fault hidden."""
    assert settled(Days, given_, None) == given_


def test_a_period_that_nobody_has_to_say_is_settled_too() -> None:
    """Or else each step of a chain that runs over midnight would be about other days."""

    class Weekly(BaseModel):
        first: FirstDay = Field("last week", validate_default=True)  # type: ignore[assignment]
        note: str = ""

    with periods.asked_at(datetime(2026, 11, 23, 12, tzinfo=UTC)):
        assert settled(Weekly, {}, None) == {"first": "2026-11-16", "note": ""}


def test_both_ends_are_seen_from_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is Sunday for the first day and Monday for the last one, nobody wants two weeks."""
    nights = iter(datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC) + timedelta(seconds=number) for number in range(9))

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return next(nights)

    monkeypatch.setattr(periods, "datetime", Clock)
    assert settled(Days, {"first": "last week", "last": "last week"}, None)["last"] == "2026-11-15"
    with periods.asked_at(None):
        assert periods.now() == periods.now()


def test_a_form_still_has_a_field_for_a_date() -> None:
    """The words are one more thing that it takes."""
    assert Days.model_json_schema()["properties"]["first"]["format"] == "date"
    with pytest.raises(ValidationError):
        Days(first="never")  # type: ignore[arg-type]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestAsking:
    """What becomes of them in a request."""

    @pytest.fixture(autouse=True)
    def _known(self, parts: Deployment) -> None:
        registry.register(Report)

    def _ask(self, parts: Deployment, asked_at: str | None, **more: Any) -> Any:
        """As a message comes that was sent then."""
        headers = {entry.ASKED_AT: asked_at} if asked_at else {}
        result = request_file.apply(("report", {"first": "last week"}, "ada@example.com"), more, headers=headers)
        return parts.requests.get(result.id)

    def test_it_is_the_time_of_asking_that_counts(self, parts: Deployment) -> None:
        """A message that has waited over the weekend is about the week that was meant; the zone is the requester's."""
        sunday_evening = "2026-11-23T04:59:59+00:00"
        row = self._ask(parts, sunday_evening, tz="America/New_York")
        assert row.criteria["first"] == "2026-11-09"
        row = self._ask(parts, sunday_evening, tz="Europe/Zurich")
        assert row.criteria["first"] == "2026-11-16"

    def test_without_a_time_of_asking_it_is_now(self, parts: Deployment) -> None:
        """A producer in another language says none, or nonsense, or a time that no other zone has."""
        expected = periods.of("last week", datetime.now(UTC).date())
        assert expected is not None
        for said in (None, "yesterday", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"):
            row = self._ask(parts, said, idempotency_key=str(said), once_per="week", tz="Etc/UTC")
            assert row.criteria["first"] == str(expected.first)

    def test_once_per_week_is_one_request(self, parts: Deployment) -> None:
        """The key says which report, or else all that was asked for; the next week has one of its own."""
        named = {"idempotency_key": "weekly", "once_per": "week"}
        monday, sunday, next_monday = (f"2026-11-{day}T10:00:00+00:00" for day in (16, 22, 23))
        first = self._ask(parts, monday, **named)
        assert first.idempotency_key == "weekly 2026-W47"
        assert self._ask(parts, sunday, **named) is None  # the first one answers
        assert self._ask(parts, next_monday, **named).idempotency_key == "weekly 2026-W48"
        unnamed = self._ask(parts, monday, once_per="week")
        assert unnamed.idempotency_key.endswith(" 2026-W47")
        assert self._ask(parts, sunday, once_per="week") is None
        assert self._ask(parts, sunday, once_per="week", language="de") is not None

    def test_another_span_is_refused_by_its_name(self, parts: Deployment) -> None:
        """As a failed request, like all that can't be stored."""
        row = self._ask(parts, None, once_per="fortnight")
        assert (row.state, row.error_code, row.idempotency_key) == ("failed", "invalid_criteria", None)
        assert "once_per must be one of these: hour, day, week" in row.error_message

    def test_the_toolbox_settles_them_too(self, parts: Deployment) -> None:
        """In the zone that it is given."""
        row = toolbox.add_request({"first": "today"}, "report", "ada", tz="Pacific/Kiritimati", once_per="day")
        today = str(datetime.now(zoneinfo.ZoneInfo("Pacific/Kiritimati")).date())
        assert row.criteria["first"] == today
        assert row.idempotency_key is not None
        assert row.idempotency_key.endswith(today)

    def test_python_says_when_it_asks(self, parts: Deployment) -> None:
        """In the message, once: one that comes again says the same."""
        request_file.delay("report", {"first": "last week"}, "ada")
        with parts.app.connection_for_read() as connection:
            message = connection.SimpleQueue("bgtasks").get(timeout=1)
            message.ack()
        said = message.headers[entry.ASKED_AT]
        assert abs(datetime.now(UTC) - datetime.fromisoformat(said)) < timedelta(seconds=30)

    def test_a_worker_before_its_migration_loses_no_request(
        self, parts: Deployment, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its message comes again with all that it said, and the log names the command."""
        with parts.database.writing() as session:
            session.execute(text("ALTER TABLE bgtasks_file_requests DROP COLUMN queue"))
        sent = "2026-11-16T10:00:00+00:00"
        context = {"id": "3f2a9c1b-0000-4000-8000-000000000000", "args": ("report", {"first": "last week"}, "ada"),
                   "kwargs": {}, "headers": {entry.ASKED_AT: sent}, "is_eager": False, "called_directly": False,
                   "delivery_info": {"routing_key": "bgtasks"}, "retries": 0}  # fmt: skip
        request_file.push_request(**context)
        try:
            with pytest.raises(Retry):
                request_file.run("report", {"first": "last week"}, "ada")
        finally:
            request_file.pop_request()
        assert "run celery bgtasks migrate" in caplog.text
        with parts.app.connection_for_read() as connection:
            again = connection.SimpleQueue("bgtasks").get(timeout=1)
            again.ack()
        assert (again.headers["id"], again.headers[entry.ASKED_AT]) == (context["id"], sent)
        assert again.payload[0] == ["report", {"first": "last week"}, "ada"]
