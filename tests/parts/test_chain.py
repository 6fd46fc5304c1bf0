"""A file that is written in parts, from the request to the download."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, select, update

from bgtasks import FileType, registry, step, sweeps, toolbox
from bgtasks.canvas import STEPS
from bgtasks.deployment import Deployment
from bgtasks.errors import RequestFailed, TransientError
from bgtasks.models import FileRequest
from bgtasks.object_keys import ANEW
from bgtasks.running import RunningStep
from bgtasks.states import EventKind, State
from bgtasks.stores.pieces import LEAST
from tests.parts.keyed import plain
from tests.support.s3 import Bucket

ROWS = 1000
TABLE = Table("numbered", MetaData(), Column("number", Integer, primary_key=True), Column("name", Text))


class Divided(FileType):
    """Rows of a table, in so many parts."""

    file_type = "divided"
    formats = ("csv", "csv.gz", "csv.zst", "jsonl")
    parts = 4
    part_key = TABLE.c.number
    notifiers = ()

    def get_items(self, criteria: Any) -> Any:
        return select(TABLE).order_by(TABLE.c.number)


class Whole(Divided):
    """The same rows, by one writer."""

    file_type = "whole"
    parts = None


#: What goes wrong, once each, when a file is signed.
faults: list[Exception] = []


@step("sign")
def sign(running: RunningStep) -> dict[str, Any]:
    """Make another object of the whole file."""
    with running.open_object() as signed:
        signed.write(b"signed\r\n")
        for chunk in running.deployment.store.read(str(running.file_request.object_key)):
            signed.write(chunk)
        signed.commit()
    if faults:
        raise faults.pop()
    return {"object_key": running.held.object_key, "size": signed.size, "sha256": signed.sha256}


class Signed(Divided):
    """The same rows, of which a step makes a file of its own."""

    file_type = "signed"
    steps = (*STEPS[:3], "sign", *STEPS[3:])


class Careful(Divided):
    """It has faults that the retry does not meet any more."""

    file_type = "careful"
    most: int | None = None
    is_named = True

    def get_max_rows(self) -> int | None:
        return self.most

    def get_filename(self) -> str:
        if not self.is_named and self.file_request.sha256 is not None:
            raise ValueError("the whole file has no name")
        return super().get_filename()


@pytest.fixture(autouse=True)
def _filled(parts: Deployment) -> None:
    for file_type in (Divided, Whole, Signed, Careful):
        registry.register(file_type)
    TABLE.metadata.create_all(parts.database.engine)
    with parts.database.writing() as session:
        session.execute(insert(TABLE), [{"number": n, "name": f"name {n}"} for n in range(ROWS)])


def made(parts: Deployment, file_type: str, format: str) -> tuple[FileRequest, bytes]:
    request = toolbox.add_request({}, file_type, "ada@example.com", format=format, schedule=True)
    assert registry.dispatch(request.id) is True
    row = parts.requests.get(request.id)
    assert row is not None
    assert row.state == State.READY, row.error_message
    return row, b"".join(parts.store_of(row).read(str(row.object_key)))


@pytest.mark.parametrize("format", ["csv", "csv.gz", "csv.zst", "jsonl"])
def test_parts_make_the_file_that_one_writer_makes(parts: Deployment, format: str) -> None:
    divided, written = made(parts, "divided", format)
    whole, expected = made(parts, "whole", format)
    if format in ("csv", "jsonl"):
        assert (divided.sha256, divided.size) == (whole.sha256, whole.size)
    assert plain(format, written) == plain(format, expected)
    assert (divided.rows_written, divided.rows_total, divided.parts_done) == (ROWS, ROWS, 4)
    assert list(parts.store.keys()).count(divided.object_key) == 1
    assert len(list(parts.store.keys(divided.id))) <= 2  # nothing is left of the parts
    assert parts.parting.of(divided.id) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_parts_in_a_bucket_make_the_same_file(
    parts: Deployment, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are large enough for the service to copy them, so that an upload could be left unfinished."""
    monkeypatch.setattr(Divided, "store_url", bucket.url)
    with parts.database.writing() as session:
        session.execute(update(TABLE).values(name=TABLE.c.name + "x" * (5 * LEAST // ROWS)))
    divided, written = made(parts, "divided", "csv")
    whole, expected = made(parts, "whole", "csv")
    assert (divided.parts_done, written == expected) == (4, True)
    assert (divided.sha256, divided.size) == (whole.sha256, whole.size)
    assert bucket.head(str(divided.object_key))["ETag"].strip('"').endswith("-4")  # of so many copies
    assert sorted(parts.store_of(divided).keys()) == sorted([divided.object_key, whole.object_key])
    assert bucket.unfinished() == []
    assert parts.parting.of(divided.id) == []


@pytest.mark.parametrize("wait", [0, 60])
def test_a_step_of_the_users_own_makes_its_object_of_the_whole_file(parts: Deployment, wait: float) -> None:
    """Never of what an earlier try has made: here in its slot, and after it was handed back."""
    faults.append(TransientError(retry_after=wait))
    request = toolbox.add_request({}, "signed", "ada@example.com", schedule=True)
    assert registry.dispatch(request.id) or registry.dispatch(request.id)
    row = parts.requests.get(request.id)
    assert row is not None
    _, expected = made(parts, "whole", "csv")
    assert b"".join(parts.store.read(str(row.object_key))) == b"signed\r\n" + expected
    assert objects(parts, row) == [row.object_key]
    with parts.store.open_writer(f"{row.id}/3{ANEW}", lambda: None) as left:  # by one who was killed
        left.commit()
    sweeps.clean()
    assert objects(parts, row) == [row.object_key]


def test_all_parts_together_stay_within_the_limit(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though each of them does: the third is one too many, and nothing is left of the others."""
    write = Careful.write_part

    def limited(self: Careful, *args: Any) -> None:
        monkeypatch.setattr(Careful, "most", ROWS // 2)  # which was not so yet when they were counted
        write(self, *args)

    monkeypatch.setattr(Careful, "write_part", limited)
    row = failed(parts)
    assert (row.error_code, row.parts_done) == ("too_many_rows", 2)
    assert objects(parts, row) == []


def test_a_retry_leaves_nothing_of_the_file_that_failed(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts were joined by then; no sweep has to come for that. The type's own code sees the whole file."""
    monkeypatch.setattr(Careful, "is_named", False)
    before = failed(parts)
    assert objects(parts, before) == [before.object_key]
    monkeypatch.undo()
    assert toolbox.retry(before)
    assert registry.dispatch(before.id)
    row = parts.requests.get(before.id)
    assert row is not None
    assert row.state == State.READY
    assert objects(parts, row) == [row.object_key]


def failed(parts: Deployment) -> FileRequest:
    """A request that has failed, once, and has no parts any more."""
    request = toolbox.add_request({}, "careful", "ada@example.com", schedule=True)
    with pytest.raises(RequestFailed):
        registry.dispatch(request.id)
    row = parts.requests.get(request.id)
    assert row is not None
    assert [entry.kind for entry in parts.requests.history(row.id)].count(EventKind.FAILED) == 1
    assert parts.parting.of(row.id) == []
    return row


def objects(parts: Deployment, row: FileRequest) -> list[str]:
    """What the store has of a request."""
    return [key for key in parts.store.keys() if key.startswith(row.id)]  # noqa: SIM118 - a store's own method
