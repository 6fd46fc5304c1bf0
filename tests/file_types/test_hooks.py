"""Every hook of a file type, overridden once: what it says is what happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import pytest
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, insert, select
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from bgtasks import FileType, canvas, publishing, registry, toolbox
from bgtasks.declarations import Declarations
from bgtasks.deployment import Deployment
from bgtasks.errors import InvalidCriteria, RequestFailed, TooManyActive
from bgtasks.formats.csv import Csv
from bgtasks.models import FileRequest
from bgtasks.notifiers import Message
from bgtasks.stack import Mailbox
from bgtasks.states import EventKind
from bgtasks.telling import Telling
from bgtasks.tokens import Signer
from tests.conftest import KEY
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER, fresh

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

SEMICOLONS = Csv(delimiter=";")


class Base(Numbers):
    """What the tests override."""

    file_type = "hooked"

    class Criteria(BaseModel):
        count: int = 2


class Other(BaseModel):
    """Other criteria."""

    count: int = 7


@dataclass
class Ending:
    """What there is when a request has ended."""

    parts: Deployment
    row: FileRequest
    contents: str
    mailbox: Mailbox

    @property
    def mail(self) -> Any:
        """The only mail."""
        [mail] = self.mailbox.mails
        return mail

    def part(self, kind: str) -> str:
        """The mail's text or HTML."""
        return str(self.mail.get_body((kind,)).get_content()).strip()


@dataclass
class Kept:
    """A channel that keeps what it is told."""

    said: list[tuple[str, str]]
    channel: str = "kept"

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        self.said.append((recipient, message.subject))


KEPT = Kept([])
OWN = Signer(KEY, "one type's own", max_age=500)
numbers = Table("numbers", MetaData(), Column("number", Integer))

End = Callable[[Ending], Any]


def lasting(ending: Ending) -> int | None:
    """For how many seconds the file is kept."""
    expires, finished = ending.row.expires_at, ending.row.finished_at
    return None if expires is None or finished is None else round((expires - finished).total_seconds(), -1)


#: twin: what it returns, and where that is to be found once a worker has made the file.
IN_A_WORKER: dict[str, tuple[Any, End, Any]] = {
    "get_content_type": ("text/x-numbers", lambda ending: ending.row.content_type, "text/x-numbers"),
    "get_formats": ([SEMICOLONS], lambda ending: ending.contents, "number;name\r\n0;name 0\r\n1;name 1\r\n"),
    "get_format": (SEMICOLONS, lambda ending: ending.contents, "number;name\r\n0;name 0\r\n1;name 1\r\n"),
    "get_columns": (("n", "m"), lambda ending: ending.contents.splitlines()[0], "n,m"),
    "get_filename": ("other.csv", lambda ending: ending.row.filename, "other.csv"),
    "get_criteria_class": (Other, lambda ending: ending.row.rows_written, 7),
    "get_signer": (OWN, lambda ending: bool(OWN.load(ending.part("plain").split("/files/")[1].split()[0])), True),
    "get_max_age": (3000, lasting, 3000),
    "get_email_subject": ("On %(filename)s", lambda ending: ending.mail["Subject"], "On hooked.csv"),
    "get_email_text_message": ("Take %(filename)s", lambda ending: ending.part("plain"), "Take hooked.csv"),
    "get_email_html_message": ("<p>%(filename)s</p>", lambda ending: ending.part("html"), "<p>hooked.csv</p>"),
    "get_from_email": ("us@example.com", lambda ending: ending.mail["From"], "us@example.com"),
    "get_email_recipients": (["b@example.com"], lambda ending: ending.mail["To"], "b@example.com"),
    "get_download_url": (
        "https://x.example.com/1",
        lambda ending: "https://x.example.com/1" in ending.part("plain"),
        True,
    ),
    "get_notifiers": ([KEPT], lambda ending: KEPT.said.pop(), (REQUESTER, "Your file is ready: hooked.csv")),
    "get_token_data": (
        {"page": 3},
        lambda ending: toolbox.decode(ending.part("plain").split("/files/")[1].split()[0])[1],
        {"page": 3},
    ),
    "is_requester_only": (False, lambda ending: "works until" in ending.part("plain"), True),
}
#: The same for the attribute that the twin returns by default.
AS_ATTRIBUTES = {
    "get_content_type": "content_type",
    "get_formats": "formats",
    "get_columns": "columns",
    "get_filename": "filename",
    "get_signer": "signer",
    "get_max_age": "max_age",
    "get_email_subject": "email_subject",
    "get_email_text_message": "email_text_message",
    "get_email_html_message": "email_html_message",
    "get_from_email": "from_email",
    "get_email_recipients": "email_recipients",
    "get_notifiers": "notifiers",
    "get_token_data": "token_data",
    "is_requester_only": "requester_only",
}


def made(parts: Deployment, mailbox: Mailbox, cls: type[FileType]) -> Ending:
    """A file of a type, made as a worker makes it."""
    registry.register(cls)
    asked = toolbox.add_request({}, "hooked", REQUESTER)
    assert registry.dispatch(asked.id)
    row = fresh(parts, asked)
    return Ending(parts, row, b"".join(parts.store.read(str(row.object_key))).decode(), mailbox)


@pytest.mark.parametrize("twin", IN_A_WORKER)
def test_a_twin_is_asked_in_a_worker(parts: Deployment, mailbox: Mailbox, twin: str) -> None:
    """What an overridden method returns takes effect on the file, the row or the mail."""
    value, found, expected = IN_A_WORKER[twin]
    default = made(parts, mailbox, type("Plain", (Base,), {}))
    if twin != "get_notifiers":
        assert found(default) != expected if twin != "get_signer" else True
    mailbox.mails.clear()
    registry._classes.clear()
    overridden = type("Overridden", (Base,), {twin: lambda self, *_: value})
    assert found(made(parts, mailbox, overridden)) == expected


@pytest.mark.parametrize("twin", AS_ATTRIBUTES)
def test_an_attribute_is_what_its_twin_returns(parts: Deployment, mailbox: Mailbox, twin: str) -> None:
    """The same value takes the same effect where it is only declared."""
    value, found, expected = IN_A_WORKER[twin]
    declared = type("Declared", (Base,), {AS_ATTRIBUTES[twin]: value})
    assert found(made(parts, mailbox, declared)) == expected


def test_limits_are_asked(parts: Deployment) -> None:
    """``get_max_rows`` refuses what is over it, as ``max_rows`` does."""
    for cls in (
        type("A", (Base,), {"get_max_rows": lambda self: 1}),
        type("B", (Base,), {"max_rows": 1, "notifiers": ()}),
    ):
        registry._classes.clear()
        registry.register(cls)
        asked = toolbox.add_request({}, "hooked", REQUESTER)
        with pytest.raises(RequestFailed):
            registry.dispatch(asked.id)
        assert fresh(parts, asked).error_code == "too_many_rows"


@pytest.mark.parametrize("as_twin", [True, False])
def test_failures_may_be_kept_from_the_requester(parts: Deployment, mailbox: Mailbox, as_twin: bool) -> None:
    """The row and whoever waits have the reason, nobody is mailed, and the history says so."""
    attribute = {"get_tell_failures": lambda self: False} if as_twin else {"tell_failures": False}
    registry.register(type("Quiet", (Base,), {"max_rows": 1, **attribute}))
    asked = toolbox.add_request({}, "hooked", REQUESTER)
    with pytest.raises(RequestFailed):
        registry.dispatch(asked.id)
    assert mailbox.mails == []
    assert fresh(parts, asked).error_code == "too_many_rows"
    assert [entry.kind for entry in parts.requests.history(asked.id)][-1] == EventKind.NOT_NOTIFIED


@pytest.mark.parametrize("as_twin", [True, False])
def test_limits_are_asked_with_a_request(parts: Deployment, as_twin: bool) -> None:
    """How many at once, how big the criteria, and whether one request answers for the next."""

    def declare(name: str, value: Any) -> None:
        registry._classes.clear()
        attribute = {f"get_{name}": lambda self: value} if as_twin else {name: value}
        registry.register(type("Limited", (Base,), attribute))

    def ask() -> FileRequest:
        return toolbox.add_request({}, "hooked", REQUESTER, schedule=True)

    declare("coalesce", True)
    assert ask().id == ask().id
    declare("max_criteria_size", 1)
    with pytest.raises(InvalidCriteria):
        ask()
    declare("max_active_per_requester", 2)
    ask()
    with pytest.raises(TooManyActive):
        ask()


def test_the_source_is_asked(parts: Deployment, mailbox: Mailbox, tmp_path: Any) -> None:
    """A select runs on the database that ``get_source_url`` names."""
    engine = create_engine(f"sqlite:///{tmp_path / 'source.db'}")
    numbers.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(numbers), [{"number": 41}, {"number": 42}])
    engine.dispose()

    class Sourced(Base):
        columns = None

        def get_source_url(self) -> str:
            return f"sqlite:///{tmp_path / 'source.db'}"

        def get_items(self, criteria: Any) -> Any:
            return select(numbers)

    assert made(parts, mailbox, Sourced).contents == "number\r\n41\r\n42\r\n"


@pytest.mark.parametrize("as_twin", [True, False])
def test_queue_options_and_deadline_are_asked(parts: Deployment, as_twin: bool) -> None:
    """They go onto every link of the chain, and to the step's deadline; the heavy queue is for what needs memory."""
    values = {"queue": "slow", "heavy_queue": "slower", "celery_kwargs": {"priority": 7}, "time_limit": 12.5}
    attributes = (
        {f"get_{name}": lambda self, value=value: value for name, value in values.items()} if as_twin else values
    )
    cls = registry.register(type("Slow", (Base,), attributes))
    asked = toolbox.add_request({}, "hooked")
    links = cls.restore(asked).canvas(asked).tasks
    assert [link.task for link in links] == [canvas.task_name(step) for step in canvas.STEPS]
    assert {(link.options["queue"], link.options["priority"]) for link in links} == {("slow", 7)}
    assert cls().get_time_limit() == 12.5
    assert publishing.heavy_queue_of(asked) == "slower"


# -- within a web request ----------------------------------------------------------------------------


def asking(**more: Any) -> Request:
    """A request by somebody."""
    return Request(EnvironBuilder(environ_overrides={"REMOTE_USER": REQUESTER}, **more).get_environ())


def last(parts: Deployment) -> FileRequest:
    """The only row."""
    with parts.database.reading() as session:
        return session.scalars(select(FileRequest)).one()


Answer = Callable[[Deployment, Response], Any]

#: hook: what it is overridden with, and where that shows in the answer or on the row.
IN_A_VIEW: dict[str, tuple[Callable[..., Any], Answer, Any]] = {
    "get_file_type": (lambda self: "renamed", lambda parts, _: last(parts).file_type, "renamed"),
    "get_file_description": (lambda self: "Other words", lambda parts, _: last(parts).description, "Other words"),
    "get_delayed_template_name": (
        lambda self: "ready.html",
        lambda parts, answer: "Download the file" in answer.text,
        True,
    ),
    "get_delayed_context_data": (
        lambda self, file_request, **context: {"file_request": {**vars(file_request), "description": "In other words"}},
        lambda parts, answer: "In other words" in answer.text,
        True,
    ),
    "get_status_url": (
        lambda self, file_request: f"https://x.example.com/{file_request.id}",
        lambda parts, answer: answer.headers["Location"].removeprefix("https://x.example.com/") == last(parts).id,
        True,
    ),
    "get_language": (lambda self, http_request: "de-CH", lambda parts, _: last(parts).language, "de-CH"),
    "get_timezone": (lambda self, http_request: "Asia/Tokyo", lambda parts, _: last(parts).timezone, "Asia/Tokyo"),
    "get_file_request_data": (
        lambda self, http_request, dataset: {"file_type": "hooked", "language": "de"},
        lambda parts, _: (last(parts).language, last(parts).requester),
        ("de", None),
    ),
    "build_criteria": (lambda self, http_request: Other(count=9), lambda parts, _: last(parts).criteria, {"count": 9}),
    "schedule": (lambda self, *_: None, lambda parts, _: last(parts).dispatch_at is not None, True),
    "create_delayed_response": (lambda self, *_: Response("later"), lambda _, answer: answer.get_data(), b"later"),
    "respond_with_delay": (lambda self, *_: Response("wait"), lambda _, answer: answer.get_data(), b"wait"),
}
WORDS = {"id": "in words", "description": "", "requester_email": ""}
#: What ``ready.html`` wants, which stands in for a page of somebody's own.
CONTEXT = dict.fromkeys(
    (
        "description",
        "filename",
        "rows_written",
        "rows_total",
        "size",
        "download_url",
        "requester_only",
        "requester",
        "expires_at",
    ),
    "x",
)


@pytest.mark.parametrize("hook", IN_A_VIEW)
def test_a_hook_is_called_in_a_view(parts: Deployment, hook: str) -> None:
    """What an overridden hook does shows in the answer, or on the row."""
    override, found, expected = IN_A_VIEW[hook]
    cls = type("Overridden", (Base,), {hook: override, "delayed_context_data": CONTEXT})
    registry.register(cls, names=["hooked", "renamed"])
    delayed, answer = cls().respond_to(asking())
    assert delayed
    answer.text = answer.get_data(as_text=True)  # type: ignore[attr-defined]
    assert found(parts, answer) == expected


@pytest.mark.parametrize(
    ("attribute", "value", "found", "expected"),
    [
        ("file_description", "Other words", lambda parts, _: last(parts).description, "Other words"),
        (
            "file_request_data",
            {"language": "de"},
            lambda parts, _: (last(parts).language, last(parts).requester),
            ("de", REQUESTER),
        ),
        (
            "delayed_context_data",
            {"file_request": WORDS},
            lambda _, answer: b"Request in words" in answer.get_data(),
            True,
        ),
        ("delayed_template_name", "base.html", lambda _, answer: b"Request" in answer.get_data(), False),
        ("filename", "mine.csv", lambda parts, _: last(parts).filename, "mine.csv"),
    ],
)
def test_an_attribute_shows_in_a_view(
    parts: Deployment, attribute: str, value: Any, found: Answer, expected: Any
) -> None:
    """The same for what is only declared."""
    cls = registry.register(type("Declared", (Base,), {attribute: value}))
    assert found(parts, cls().respond_to(asking())[1]) == expected


class Inline(Base):
    """Files at once."""

    def evaluate_dataset(self, dataset: Any, http_request: Any) -> None:
        dataset.delay = http_request.args.get("later") == "1"


def test_evaluate_dataset_decides(parts: Deployment) -> None:
    """It sees the dataset and the request, and says whether the file must wait."""
    registry.register(Inline)
    assert Inline().respond_to(asking(query_string={"later": "1"}))[0]
    delayed, response = Inline().respond_to(asking())
    assert not delayed
    response.close()


@pytest.mark.parametrize(
    ("hook", "override", "expected"),
    [
        ("get_content_as_attachment", lambda self: False, "inline"),
        ("get_filename", lambda self: "other.csv", "other.csv"),
        ("respond_with_file", lambda self, *_: Response(headers={"Content-Disposition": "own"}), "own"),
        ("build_dataset", None, "attachment"),
    ],
)
def test_a_hook_shows_in_a_file_at_once(parts: Deployment, hook: str, override: Any, expected: str) -> None:
    """What is said about the file is the same as for one that was made in the background."""
    if override is None:
        called: list[str] = []

        def override(self: FileType, http_request: Request) -> Any:
            called.append(hook)
            return Inline.build_dataset(self, http_request)  # type: ignore[arg-type]

    cls = type("Overridden", (Inline,), {hook: override})
    response = cls().respond_to(asking())[1]
    assert expected in response.headers["Content-Disposition"]
    response.close()


def test_bytes_and_items_of_ones_own(parts: Deployment, mailbox: Mailbox) -> None:
    """``get_items`` and ``write_bytes`` are called with what was restored from the row."""

    class Written(Base):
        def get_items(self, criteria: Any) -> Any:
            return [criteria.requester]

        def write_bytes(self, dataset: Any, buffer: BinaryIO) -> None:
            buffer.write(json.dumps([dataset.items.source, dataset.criteria.count]).encode())

    assert json.loads(made(parts, mailbox, Written).contents) == [[REQUESTER], 2]


def test_send_notification_of_ones_own(parts: Deployment, mailbox: Mailbox) -> None:
    """It is called with the row and a token that works, and says how many it told."""
    tokens: list[str] = []

    class Told(Base):
        def send_notification(self, file_request: FileRequest, token: str) -> int:
            tokens.append(token)
            return 1

    ending = made(parts, mailbox, Told)
    assert toolbox.decode(tokens[0])[0].id == ending.row.id
    assert ending.row.notified_at is not None
    assert mailbox.mails == []


def test_a_new_instance_may_be_given_a_name(parts: Deployment) -> None:
    """``FileType(filename=…)`` names one file; None is the type's own name."""
    assert Base(filename="mine.csv").get_filename() == "mine.csv"
    assert Base(filename=None).get_filename() == Base().get_filename() == "hooked.csv"


def test_every_twin_is_tried_here(parts: Deployment) -> None:
    """A getter that is added must show its effect in this file."""
    tried = {
        *IN_A_WORKER,
        *IN_A_VIEW,
        "get_chosen_columns",
        "get_max_rows",
        "get_max_active_per_requester",
        "get_max_criteria_size",
        "get_coalesce",
        "get_tell_failures",
        "get_tell_cancels",  # and these three in tests/telling
        "get_tell_expiry",
        "get_email_attach_up_to",
        "get_source_url",
        "get_queue",
        "get_heavy_queue",
        "get_store_url",  # tests/stores
        "get_retention",  # tests/clean
        "get_celery_kwargs",
        "get_time_limit",
    }
    tried |= {"get_content_as_attachment"}
    twins = {name for name in (*vars(Declarations), *vars(Telling)) if name.startswith(("get_", "is_"))}
    assert twins <= tried
