"""What a request chooses of a file, it gets of one in parts too; and the request itself is like any other."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from sqlalchemy import delete

from bgtasks import registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import TooManyActive
from bgtasks.models import FileRequest
from tasks.login_events import LoginEvent
from tests.support.divided import Logins, fan_out, fill
from tests.support.handmade import REQUESTER, fresh


def made(parts: Deployment, file_type: str, **chosen: Any) -> tuple[FileRequest, bytes]:
    """The row and the file of a request."""
    asked = toolbox.add_request({}, file_type, REQUESTER, schedule=True, **chosen)
    assert registry.dispatch(asked.id)
    row = fresh(parts, asked)
    return row, b"".join(parts.store_of(row).read(str(row.object_key)))


@pytest.mark.parametrize("format", ["csv", "csv.gz", "jsonl"])
def test_columns_format_and_zone_are_those_of_the_request(parts: Deployment, format: str) -> None:
    """The bytes are those of one writer, also where the key is none of the chosen columns; with one heading."""
    fill(parts, 70)
    chosen = {"format": format, "columns": ["username", "at"], "tz": "Europe/Zurich"}
    (divided, ours), (whole, theirs) = (made(parts, name, **chosen) for name in ("logins", "whole_logins"))
    if format == "csv.gz":
        ours, theirs = gzip.decompress(ours), gzip.decompress(theirs)
    assert (divided.parts_done, whole.parts_done) == (3, None)
    assert ours == theirs
    lines = ours.decode().splitlines()
    assert len(lines) == 70 + (format != "jsonl")
    assert "name 69" in lines[-1]
    assert ("+01:00" in lines[1], "+02:00" in lines[-1]) == (True, True)


class ByAddress(Logins):
    """By a key that says nothing."""

    file_type = "by_address"
    part_key = LoginEvent.address

    def get_items(self, criteria: Any) -> Any:
        return super().get_items(criteria).order_by(None)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_rows_that_share_one_key_have_one_writer(parts: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    """The file is made, and the log says why by one; that a file has fewer rows than parts is nothing to say."""
    fill(parts, 9)
    registry.register(ByAddress)
    row, written = made(parts, "by_address")
    assert (row.parts_total, row.rows_written, len(written.splitlines())) == (None, 9, 10)
    assert caplog.text.count("1 parts in place of 3, since many rows share a key") == 1
    caplog.clear()
    with parts.database.writing() as session:
        session.execute(delete(LoginEvent).where(LoginEvent.id > 1))
    assert made(parts, "by_address", format="jsonl")[0].rows_written == 1
    assert "share a key" not in caplog.text


def test_while_parts_are_out_a_request_goes_on(parts: Deployment) -> None:
    """It answers for the same wish and for its own key, and takes one of its requester's places."""
    fill(parts, 9)
    first = fan_out(parts, toolbox.add_request({}, "logins", REQUESTER, idempotency_key="mine", schedule=True))
    assert first.parts_are_out
    assert toolbox.add_request({}, "logins", REQUESTER, schedule=True).id == first.id
    assert toolbox.add_request({}, "logins", REQUESTER, idempotency_key="mine", schedule=True).id == first.id
    toolbox.add_request({}, "logins", REQUESTER, format="jsonl", schedule=True)
    with pytest.raises(TooManyActive):
        toolbox.add_request({}, "logins", REQUESTER, format="csv.gz", schedule=True)
    assert registry.dispatch(first.id) is False  # it is in other hands
    assert fresh(parts, first).parts_are_out
