"""The roads on which a request comes in, and the file types that the tests ask for."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import func, select, text
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from bgtasks import deployment, registry, request_file, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import TooManyActive
from bgtasks.models import FileRequest
from bgtasks.states import State
from tests.record.moves import LONG, claim, end, now
from tests.support.file_types import Numbers

ADA, BOB = "ada@example.com", "bob@example.com"


class Alike(Numbers):
    """Coalesces."""

    file_type = "alike"
    coalesce = True

    class Criteria(BaseModel):
        count: int = 3
        carriers: set[str] = set()
        kind: str | None = Field(None, alias="k")


class Few(Numbers):
    """Two at once."""

    file_type = "few"
    max_active_per_requester = 2


class FewAlike(Alike):
    """Two different ones at once."""

    file_type = "few_alike"
    max_active_per_requester = 2


def register() -> None:
    """Make them known."""
    for cls in (Alike, Few, FewAlike):
        registry.register(cls)


def by_task(criteria: Any = "", file_type: str = "numbers", requester: Any = ADA, **more: Any) -> FileRequest:
    """By ``request_file``, as a worker runs it; the row that answers."""
    asked = more.pop("id", None) or str(uuid.uuid4())
    done = request_file.apply((file_type, criteria, requester), more, task_id=asked)
    row = deployment.current().requests.get(done.result["id"] if done.state == "SUCCESS" else asked)
    assert row is not None
    if row.error_code == TooManyActive.error_code:
        raise Refused(row)
    return row


class Refused(Exception):
    """``request_file`` has stored a failed row."""

    def __init__(self, row: FileRequest) -> None:
        super().__init__(row.error_message)
        self.row = row


def by_toolbox(criteria: Any = "", file_type: str = "numbers", requester: Any = ADA, **more: Any) -> FileRequest:
    """By ``add_request``, to be scheduled."""
    return toolbox.add_request(criteria, file_type, requester, **{"schedule": True, **more})


def by_view(criteria: Any = "", file_type: str = "numbers", requester: Any = ADA, **more: Any) -> FileRequest:
    """By ``respond_to``, with criteria as a JSON body."""
    environ = {"REMOTE_USER": requester} if requester else {}
    format = {"format": more.pop("format")} if "format" in more else {}
    http_request = Request(
        EnvironBuilder(
            method="POST", json=criteria or {}, query_string=format, headers={"Accept": "application/json"},
            environ_overrides=environ,
        ).get_environ()
    )  # fmt: skip
    asked = registry.get(file_type)()
    asked.file_request_data = more
    row = deployment.current().requests.get(asked.respond_to(http_request)[1].get_json()["id"])
    assert row is not None
    return row


Road = Callable[..., FileRequest]
ROADS = (by_task, by_toolbox, by_view)


def count(parts: Deployment) -> int:
    """How many rows there are."""
    with parts.database.reading() as session:
        return session.scalar(select(func.count()).select_from(FileRequest)) or 0


def ready(parts: Deployment, row: FileRequest, max_age: float | None = LONG) -> FileRequest:
    """The request with its file, and its link granted."""
    for _ in range(3):
        row = end(parts, claim(parts, row))
    row = parts.requests.publish(claim(parts, row), {"filename": "numbers.csv"}, max_age, waits=True)
    row = parts.requests.finish(claim(parts, row), {"token_id": "granted"}, waits=True)
    row = end(parts, claim(parts, row))
    assert row.state == State.READY
    return now(parts, row)


def failed(parts: Deployment, row: FileRequest) -> FileRequest:
    """The request, after its first step has failed."""
    return parts.requests.fail(claim(parts, row), "internal_error", "No.", waits=False)


def somebody_waits(parts: Deployment) -> bool:
    """Whether a transaction on PostgreSQL waits for another one's lock."""
    with parts.database.reading() as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")))
