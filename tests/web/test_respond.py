"""``respond_to``: a file at once, or the promise of one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, Optional

import pytest
from pydantic import BaseModel, Field, Json
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Request, Response

from bgtasks import canvas, registry, status_links, toolbox
from bgtasks.criteria import QueryCriteria
from bgtasks.deployment import Deployment
from bgtasks.errors import InvalidCriteria, TooManyActive, TooManyRows, UnknownFileType, UnknownFormat
from bgtasks.file_types import Dataset, FileType
from bgtasks.formats.xlsx import Xlsx
from bgtasks.states import State
from bgtasks.streams import CHUNK, CHUNKS
from tests.conftest import BASE_URL
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER, fresh

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Inline(Numbers):
    """Numbers, at once."""

    file_type = "inline"
    notifiers = ()

    def evaluate_dataset(self, dataset: Dataset, http_request: Any) -> None:
        dataset.delay = False


def asking(user: str | None = REQUESTER, **more: Any) -> Request:
    """A request for a file."""
    environ = {"REMOTE_USER": user} if user else {}
    return Request(EnvironBuilder(environ_overrides=environ, **more).get_environ())


def body(response: Response) -> bytes:
    """What is sent."""
    return b"".join(response.iter_encoded())


# -- at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_a_file_at_once_is_the_file_of_the_worker(parts: Deployment, format: str) -> None:
    """The response has the same bytes and headers as the file that the chain makes and the link serves."""
    registry.register(Inline)
    delayed, response = Inline().respond_to(asking(query_string={"count": "5000", "format": format}))
    asked = toolbox.add_request({"count": 5000}, "inline", REQUESTER, format=format)
    assert registry.dispatch(asked.id)
    served = toolbox.serve(fresh(parts, asked))
    assert not delayed
    assert response.status_code == 200
    written, stored = body(response), body(served)
    assert written == stored if format == "csv" else abs(len(written) - len(stored)) < 64
    for name, value in response.headers.items():
        assert served.headers[name] == value
    assert response.headers["Content-Disposition"] == f"attachment; filename=inline.{format}"


letters = Table("letters", MetaData(), Column("id", Integer, primary_key=True), Column("letter", String(1)))


class Letters(Inline):
    """Rows of a table."""

    file_type = "letters"

    def get_items(self, criteria: Any) -> Any:
        return select(letters).order_by(letters.c.id)


def test_a_select_is_streamed_into_the_response(parts: Deployment) -> None:
    """The rows come from the deployment's database, though another thread reads them."""
    letters.metadata.create_all(parts.database.engine)
    with parts.database.writing() as session:
        session.execute(insert(letters), [{"id": number, "letter": "é"} for number in range(5000)])
    _, response = Letters().respond_to(asking())
    assert body(response).decode().splitlines()[::2500] == ["number,name", "2499,é", "4999,é"]


class Endless(Inline):
    """More rows than anybody wants, and a count of those that were made."""

    made = 0

    def get_items(self, criteria: Any) -> Iterator[tuple[int, str]]:
        while True:
            type(self).made += 1
            yield self.made, "x" * 100


@ON_SQLITE
def test_a_file_at_once_is_never_held_whole(parts: Deployment) -> None:
    """Rows are made as the client reads: an endless file can be begun, and ends with its client."""
    Endless.made = 0
    _, response = Endless().respond_to(asking())
    chunks = response.iter_encoded()
    read = sum(len(next(chunks)) for _ in range(20))
    # What is under way, and one batch of rows on each side of the pipe.
    assert Endless.made * 100 < read + (CHUNKS + 3) * CHUNK + 3 * 2000 * 110
    response.close()


class Broken(Inline):
    """Fails after so many rows."""

    after = 0

    def get_items(self, criteria: Any) -> Iterator[tuple[int, str]]:
        for number in range(self.after):
            yield number, "x" * 1000
        raise LookupError("the source is gone")


@ON_SQLITE
def test_a_file_that_fails_at_once_has_no_response(parts: Deployment) -> None:
    """The view can still answer with an error."""
    Broken.after = 10
    with pytest.raises(LookupError):
        Broken().respond_to(asking())


@ON_SQLITE
def test_a_file_that_fails_midway_is_broken_off(parts: Deployment) -> None:
    """There is no length that would make the half look whole, and the error reaches the server."""
    Broken.after = 20_000
    _, response = Broken().respond_to(asking())
    assert response.content_length is None
    with pytest.raises(LookupError):
        body(response)


@ON_SQLITE
def test_head_stops_the_writer(parts: Deployment) -> None:
    """A view that answers HEAD, as Flask's do by themselves, leaves no writer behind."""
    from tests.web.test_streams import wait_for, writers

    @Request.application
    def application(http_request: Request) -> Response:
        return Endless().respond_to(http_request)[1]

    response = Client(application).head("/")
    assert response.status_code == 200
    response.close()
    wait_for(lambda: not writers(), "the writer goes on", 5)


@pytest.mark.parametrize("countable", [True, False])
@ON_SQLITE
def test_too_many_rows_are_refused_before_anything_is_sent(parts: Deployment, countable: bool) -> None:
    """``max_rows`` holds for a file at once too, whether or not its rows can be counted beforehand."""

    class Limited(Inline):
        max_rows = 10

        def get_items(self, criteria: Any) -> Any:
            found = super().get_items(criteria)
            return found if countable else iter(found)

    Limited().respond_to(asking(query_string={"count": "10"}))[1].close()
    with pytest.raises(TooManyRows) as refused:
        Limited().respond_to(asking(query_string={"count": "11"}))
    assert refused.value.limit == 10


# -- later -------------------------------------------------------------------------------------------


def published(parts: Deployment, queue: str) -> list[Any]:
    """The messages in a queue, as (task, arguments)."""
    found = []
    with parts.app.connection_for_read() as connection:
        waiting = connection.SimpleQueue(queue)
        while waiting.qsize():
            message = waiting.get_nowait()
            found.append((message.headers["task"], message.payload[0]))
            message.ack()
        waiting.close()
    return found


def test_a_file_for_later_is_scheduled(parts: Deployment) -> None:
    """The answer is 202; the row is there for the sweeps, and its first step is in its queue."""
    queue = f"files.{uuid.uuid4().hex}"

    class Later(Numbers):
        file_type = "later"
        notifiers = ()

    Later.queue = queue
    registry.register(Later)
    delayed, response = Later().respond_to(asking(query_string={"count": "5", "format": "xlsx"}))
    assert delayed
    assert response.status_code == 202
    assert "no-store" in response.headers["Cache-Control"]
    where = response.headers["Location"]
    assert response.headers["Retry-After"] == "2"
    assert where.startswith(f"{BASE_URL}/requests/")
    assert f'href="{where}"' in response.get_data(as_text=True)
    with parts.database.reading() as session:
        row = session.scalars(select(toolbox.FileRequest)).one()
    assert (row.state, row.criteria, row.requester) == (State.PENDING, {"count": 5, "since": None}, REQUESTER)
    assert (row.format, row.requester_email, row.file_type) == ("xlsx", REQUESTER, "later")
    assert row.description == "Some numbers"
    assert row.dispatch_at is not None
    [(task, arguments)] = published(parts, queue)
    assert task == canvas.task_name("fetch_criteria")
    assert arguments == [{"request_id": row.id, "file_type": "later", "fence": 0}]
    assert registry.dispatch(row.id)
    assert fresh(parts, row).state == State.READY


@pytest.mark.parametrize(
    ("accept", "kind"),
    [(None, "text/html"), ("text/html, */*", "text/html"), ("application/json", "application/json")],
)
@ON_SQLITE
def test_the_promise_is_a_page_or_json(parts: Deployment, accept: str | None, kind: str) -> None:
    """People get a page, programs the id; the page escapes whatever the requester may have typed."""

    class Hostile(Numbers):
        file_description = "<b>Numbers</b> & {{ more }}"

    response = Hostile().respond_to(asking(headers={"Accept": accept} if accept else {}))[1]
    assert response.mimetype == kind
    text = response.get_data(as_text=True)
    if kind == "application/json":
        row = parts.requests.get(json.loads(text)["id"])
        assert row is not None
        where = response.headers["Location"]
        assert json.loads(text) == {"id": row.id, "state": "pending", "status_url": where}
    else:
        assert "&lt;b&gt;Numbers&lt;/b&gt; &amp; {{ more }}" in text
        assert "<b>" not in text


class Alike(Numbers):
    """Made once while it is fresh, and one at a time."""

    file_type = "alike"
    coalesce = True
    max_active_per_requester = 1
    notifiers = ()


@ON_SQLITE
def test_who_asks_twice_is_shown_the_first(parts: Deployment) -> None:
    """The second click publishes nothing, and the page says how the first one stands."""
    registry.register(Alike)
    scheduled: list[Any] = []

    class Watched(Alike):
        def get_delayed_context_data(self, **context: Any) -> dict[str, Any]:
            scheduled.append(context["schedule"])
            return super().get_delayed_context_data(**context)

    texts = [body(Watched().respond_to(asking())[1]).decode() for _ in range(2)]
    with parts.database.reading() as session:
        row = session.scalars(select(toolbox.FileRequest)).one()
    for text in texts:
        assert "is being made" in text
        assert row.id in text
    assert registry.dispatch(row.id)
    page = Watched().respond_to(asking())[1]
    assert page.status_code == 202
    text = page.get_data(as_text=True)
    assert "Your file is ready" in text
    assert "Go to the file" in text
    answer = json.loads(Watched().respond_to(asking(headers={"Accept": "application/json"}))[1].get_data())
    assert (answer["id"], answer["state"]) == (row.id, "ready")
    assert status_links.read(answer["status_url"].rpartition("/")[2]).id == row.id
    assert scheduled == [True, None, None, None]


@ON_SQLITE
def test_who_asks_for_too_much_is_told_when_to_come_back(parts: Deployment) -> None:
    """The view gets an error with all that a 429 needs, and nothing is stored."""
    registry.register(Alike)
    Alike().respond_to(asking(query_string={"count": "1"}))
    with pytest.raises(TooManyActive) as refused:
        Alike().respond_to(asking(query_string={"count": "2"}))
    assert (refused.value.limit, refused.value.retry_after) == (1, 60)
    with parts.database.reading() as session:
        assert len(session.scalars(select(toolbox.FileRequest)).all()) == 1


@ON_SQLITE
def test_a_type_that_is_not_registered_stores_nothing(parts: Deployment) -> None:
    """No worker could make its file."""
    unregistered = type("Unregistered", (Numbers,), {"file_type": "unregistered"})
    with pytest.raises(UnknownFileType, match="unregistered"):
        unregistered().respond_to(asking())
    assert not list(toolbox.FileRequest.to_handle())
    with parts.database.reading() as session:
        assert session.scalars(select(toolbox.FileRequest)).all() == []


@ON_SQLITE
def test_an_anonymous_visitors_request_is_nobodys(parts: Deployment) -> None:
    """Without a login there is no requester and nobody to tell; the file waits for whoever has a general link."""
    _, response = Numbers().respond_to(asking(None, headers={"Accept": "application/json"}))
    row = parts.requests.get(json.loads(response.get_data())["id"])
    assert row is not None
    assert (row.requester, row.requester_email) == (None, None)


# -- what was chosen ---------------------------------------------------------------------------------


class Wishes(BaseModel):
    """Criteria of many kinds."""

    count: int = 0
    names: list[str] = []
    numbers: set[int] | None = None
    pair: tuple[int, int] | None = None
    kind: list[str] = Field([], alias="k")
    word: str | None = None
    raw: bytes = b""
    years: Optional[list[int]] = None  # noqa: UP045 - another type than "list[int] | None"
    sizes: Json[dict[str, int]] = {}


class Wished(Numbers):
    """Takes them."""

    Criteria = Wishes

    def get_items(self, criteria: Any) -> Any:
        return []


FIELDS = MultiDict(
    {"count": "3", "names": ["a", "b"], "numbers": "7", "pair": ["1", "2"], "k": "x", "word": "w", "raw": "r"}
    | {"years": "1999", "sizes": '{"a": 1}'}
)
CHOSEN = {"count": 3, "names": ["a", "b"], "numbers": {7}, "pair": (1, 2), "kind": ["x"], "word": "w", "raw": b"r"} | {
    "years": [1999],
    "sizes": {"a": 1},
}
AS_JSON = CHOSEN | {"numbers": [7], "k": ["x"], "raw": "r", "sizes": '{"a": 1}'}


@pytest.mark.parametrize(
    "sent",
    [
        {"query_string": FIELDS},
        {"method": "POST", "data": FIELDS},
        {"method": "POST", "data": FIELDS, "content_type": "multipart/form-data"},
        {"method": "POST", "json": AS_JSON},
    ],
    ids=["query", "form", "multipart", "json"],
)
@pytest.mark.usefixtures("app")
@ON_SQLITE
def test_criteria_come_in_every_form(sent: dict[str, Any]) -> None:
    """A query, a form and JSON say the same; a field for several values takes even one as a list."""
    criteria = Wished().build_criteria(asking(**sent))
    assert criteria.model_dump() == CHOSEN
    assert criteria.requester == REQUESTER


@pytest.mark.usefixtures("app")
@ON_SQLITE
def test_of_several_values_for_one_the_last_counts() -> None:
    """A hidden field before a checkbox says what holds where the box is not ticked."""
    form = MultiDict({"count": ["0", "", "7", ""]})
    assert Wished().build_criteria(asking(method="POST", data=form)).count == 7


@pytest.mark.usefixtures("app")
@ON_SQLITE
def test_what_is_left_blank_was_not_chosen() -> None:
    """Forms send every field; a blank one has its default. So have the fields that protect the form."""
    form = MultiDict({"count": "", "names": ["", "a"], "word": "", "csrf_token": "secret", "format": "csv"})
    assert Wished().build_criteria(asking(method="POST", data=form)).model_dump() == {
        **Wishes().model_dump(),
        "names": ["a"],
    }


@pytest.mark.usefixtures("app")
@ON_SQLITE
def test_a_type_without_a_class_keeps_what_it_is_sent() -> None:
    """Any fields, and no CSRF token: it has no business on the row."""

    class Any_(FileType):  # noqa: N801 - a type for anything
        file_type = "anything"

    form = {"a": "1", "csrfmiddlewaretoken": "secret", "Authenticity_Token": "secret", "format": "csv"}
    assert Any_().build_criteria(asking(method="POST", data=form)).value == {"a": "1"}
    assert Any_().build_criteria(asking(method="POST", json={"a": 1, "format": "csv", "tz": "UTC"})).value == {"a": 1}
    assert Any_().build_criteria(asking(method="POST", json=[1, None])).value == [1, None]


class Queried(Numbers):
    """Keeps the query as it came."""

    Criteria = QueryCriteria

    def get_items(self, criteria: Any) -> Any:
        return [(name, value) for name, value in criteria.fields.items(multi=True)]


@ON_SQLITE
def test_a_query_is_kept_as_it_came(parts: Deployment) -> None:
    """``QueryCriteria`` keeps every value of every field, through the row and back; nothing that is not criteria."""
    registry.register(type("Queried", (Queried,), {"file_type": "queried", "__module__": __name__}))
    ours = [("csrf_token", "secret"), ("format", "csv"), ("tz", "UTC")]
    fields = MultiDict([("b", "2"), ("a", "1 & é"), ("b", ""), *ours, ("b", "3")])
    asked = registry.get("queried")()
    _, response = asked.respond_to(asking(method="POST", data=fields, headers={"Accept": "application/json"}))
    row = parts.requests.get(json.loads(response.get_data())["id"])
    assert row is not None
    assert row.criteria == {"raw": "b=2&b=&b=3&a=1+%26+%C3%A9"}
    kept = asked.restore_dataset(row).criteria.fields
    assert list(kept.lists()) == [("b", ["2", "", "3"]), ("a", ["1 & é"])]


@pytest.mark.parametrize(
    "sent",
    [
        {"query_string": {"count": "many", "pair": "x"}},
        {"method": "POST", "data": {"count": "many", "pair": "x"}},
        {"method": "POST", "json": {"count": "many", "pair": ["x"]}},
    ],
    ids=["query", "form", "json"],
)
@pytest.mark.parametrize("method", ["respond_to", "build_dataset", "build_criteria"])
@ON_SQLITE
def test_invalid_criteria_name_their_fields(parts: Deployment, sent: dict[str, Any], method: str) -> None:
    """The view learns which field is wrong and why, and nothing is stored."""
    with pytest.raises(InvalidCriteria) as refused:
        getattr(Wished(), method)(asking(**sent))
    assert refused.value.fields["count"] == ["This is not a whole number."]
    assert any(name.startswith("pair") for name in refused.value.fields)
    assert "many" not in str(refused.value)
    assert not list(toolbox.FileRequest.to_handle())


@pytest.mark.parametrize("data", [b"{", b"", b"\xff", b'{"count": 1', b"[" * 200_000])
@pytest.mark.usefixtures("app")
@ON_SQLITE
def test_no_json_is_invalid_too(data: bytes) -> None:
    """A broken body is the sender's fault, and is told like any other."""
    with pytest.raises(InvalidCriteria) as refused:
        Wished().build_criteria(asking(method="POST", data=data, content_type="application/json"))
    assert not isinstance(refused.value, HTTPException)
    assert refused.value.fields[""]


@pytest.mark.parametrize("format", ["pdf", "CSV", "csv ", "../csv"])
@ON_SQLITE
def test_a_format_that_the_type_lacks(parts: Deployment, format: str) -> None:
    """Only the type's own formats can be chosen, and JSON that is no text names none of them."""
    with pytest.raises(UnknownFormat):
        Numbers().respond_to(asking(query_string={"format": format}))
    for said in (format, 7, False, [format], {"a": "csv"}):
        with pytest.raises(UnknownFormat):
            Numbers().respond_to(asking(method="POST", json={"format": said}))


@pytest.mark.usefixtures("app")
@ON_SQLITE
def test_the_chosen_format_is_used(parts: Deployment) -> None:
    """A blank choice is none: the first format is the default."""
    for chosen, name in (("", "csv"), ("csv", "csv"), ("xlsx", "xlsx")):
        said = {"format": chosen}
        for sent in (
            {"query_string": said},
            {"method": "POST", "data": said},
            {"method": "POST", "json": said},
            {"method": "POST", "json": {"format": None}, "query_string": said},
            {"method": "POST", "json": {}, "query_string": said},
        ):
            asked = Inline()
            dataset = asked.build_dataset(asking(**sent))
            assert asked.get_format().name == name
            assert dataset.criteria.model_dump() == {"count": 3, "since": None}
    assert isinstance(asked.get_format(), Xlsx)


@ON_SQLITE
def test_bytes_of_ones_own(parts: Deployment) -> None:
    """A type that overrides ``write_bytes`` writes whatever it likes, here as in a worker."""

    class Poem(Inline):
        file_type = "poem"
        filename = "poem.txt"
        content_type = "text/plain; charset=utf-8"

        def write_bytes(self, dataset: Dataset, buffer: BinaryIO) -> None:
            buffer.write(f"{dataset.criteria.count} lines for {dataset.criteria.requester}".encode())

    _, response = Poem().respond_to(asking())
    assert body(response).decode() == f"3 lines for {REQUESTER}"
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.headers["Content-Disposition"] == "attachment; filename=poem.txt"


# -- whose language, zone and transaction --------------------------------------------------------------


def row_of(response: Response) -> Any:
    """The row that an answer is about."""
    return status_links.read(response.headers["Location"].rpartition("/")[2])


@pytest.mark.parametrize(
    ("sent", "language", "zone"),
    [
        ({}, None, None),
        ({"headers": {"Accept-Language": "de-CH, fr;q=0.5"}}, "de-CH", None),
        ({"headers": {"Accept-Language": "xx, fr;q=0.5"}}, "fr", None),
        ({"query_string": {"tz": "Europe/Zurich"}}, None, "Europe/Zurich"),
        ({"method": "POST", "data": {"tz": "Asia/Tokyo"}}, None, "Asia/Tokyo"),
        ({"method": "POST", "json": {"tz": "Asia/Tokyo"}}, None, "Asia/Tokyo"),
        ({"method": "POST", "json": {"tz": 7}}, None, None),
        ({"headers": {"Cookie": "tz=America/New_York"}}, None, "America/New_York"),
        ({"query_string": {"tz": "Europe/Zurich"}, "headers": {"Cookie": "tz=Asia/Tokyo"}}, None, "Europe/Zurich"),
        ({"query_string": {"tz": "../etc/passwd"}, "headers": {"Cookie": "tz=Mars/Base"}}, None, None),
    ],
)
@ON_SQLITE
def test_the_request_brings_language_and_zone(
    parts: Deployment, sent: dict[str, Any], language: str, zone: str | None
) -> None:
    """What the browser asks for, and a field or cookie ``tz``, are kept on the row; the criteria know nothing of it."""
    row = row_of(Numbers().respond_to(asking(**sent))[1])
    assert (row.language, row.timezone) == (language, zone)
    assert row.criteria == {"count": 3, "since": None}


@ON_SQLITE
def test_the_caller_may_know_better(parts: Deployment) -> None:
    """A language and a zone that are given win over what the browser says."""
    http_request = asking(headers={"Accept-Language": "de", "Cookie": "tz=Asia/Tokyo"})
    row = row_of(Numbers().respond_to(http_request, language="fr", tz="Europe/Zurich")[1])
    assert (row.language, row.timezone) == ("fr", "Europe/Zurich")


class Zoned(Numbers):
    """Criteria with a field of that name."""

    file_type = "zoned"

    class Criteria(BaseModel):
        tz: str
        format: str


@ON_SQLITE
def test_a_criteria_field_called_tz_is_the_criterias(parts: Deployment) -> None:
    """The library's own field names give way."""
    registry.register(Zoned)
    Zoned.get_items = lambda self, criteria: []  # type: ignore[method-assign]
    row = row_of(Zoned().respond_to(asking(query_string={"tz": "Europe/Zurich", "format": "csv"}))[1])
    assert row.criteria == {"tz": "Europe/Zurich", "format": "csv"}
    assert row.timezone is None


class Moments(Inline):
    """A time."""

    file_type = "moments"
    columns = ("at",)

    def get_items(self, criteria: Any) -> Any:
        return [(datetime(2026, 1, 2, 12, 5, tzinfo=UTC),)]


@ON_SQLITE
def test_a_file_at_once_is_in_the_zone_too(parts: Deployment) -> None:
    """Times are the requester's, whichever way the file is made; the heading names their zone."""
    text = body(Moments().respond_to(asking(query_string={"tz": "Europe/Zurich"}))[1]).decode()
    assert text == "at (Europe/Zurich)\r\n2026-01-02 13:05:00+01:00\r\n"


@pytest.mark.parametrize("commits", [True, False])
def test_the_row_is_in_the_callers_transaction(parts: Deployment, commits: bool) -> None:
    """With a session the request is stored and published with the caller's commit, and not at all without it."""
    queue = f"files.{uuid.uuid4().hex}"
    cls = type("Ours", (Numbers,), {"file_type": "ours", "queue": queue})
    registry.register(cls)
    with Session(parts.database.engine) as session:
        delayed, response = cls().respond_to(asking(), session=session)
        assert delayed
        assert published(parts, queue) == []
        if commits:
            session.commit()
    assert len(published(parts, queue)) == commits
    with parts.database.reading() as reading:
        rows = reading.scalars(select(toolbox.FileRequest)).all()
    assert len(rows) == commits
    assert response.status_code == 202
