"""Requests and rows that a test makes by hand, without a chain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from itsdangerous import TimestampSigner
from sqlalchemy import update

from bgtasks import toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest

REQUESTER = "ada@example.com"
CONTENTS = b"number,name\r\n0,name 0\r\n"


class Clock:
    """What signers take for the time; it moves when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_700_000_000
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: self.now)

    def forward(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds


def finished(contents: bytes = CONTENTS, filename: str = "numbers.csv", **asked: Any) -> FileRequest:
    """A request that is ready, with these bytes."""
    asked = {"requester": REQUESTER, "file_type": "numbers", **asked}
    return toolbox.attach_file(toolbox.add_request(**asked), contents, filename)


def alter(parts: Deployment, file_request: FileRequest, **columns: Any) -> FileRequest:
    """The row, after columns were set behind the library's back."""
    with parts.database.writing() as session:
        session.execute(update(FileRequest).where(FileRequest.id == file_request.id).values(**columns))
    return fresh(parts, file_request)


def fresh(parts: Deployment, file_request: FileRequest) -> FileRequest:
    """The row as it is now."""
    row = parts.requests.get(file_request.id)
    assert row is not None
    return row


def in_seconds(seconds: float) -> datetime:
    """A time from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)
