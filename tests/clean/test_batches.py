"""What is done by the batch waits for nobody, and does to each row what would be done to it alone."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.states import State
from bgtasks.stores import Store
from tests.clean.scenes import in_seconds, keys, now, overdue, run, set_row
from tests.record.moves import told
from tests.support.listening import listening
from tests.support.s3 import Bucket

ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def test_many_expire_in_a_few_transactions(parts: Deployment) -> None:
    """And each has its entry in the history, and loses its file."""
    rows = [overdue(parts) for _ in range(30)]
    begun: list[object] = []
    event.listen(parts.database.engine, "commit", begun.append)
    assert run().expired == 30
    assert len(begun) < 30
    assert keys(parts) == set()
    for row in rows:
        after = now(parts, row)
        assert (after.state, after.object_key, after.fence) == (State.EXPIRED, None, row.fence + 1)
        assert told(parts, row)[-1] == "expired"


def test_no_garbage_is_collected_while_rows_are_locked(parts: Deployment) -> None:
    """A full collection takes a tenth of a second; whether it is on otherwise stays as it was."""
    seen: list[bool] = []
    overdue(parts)
    with listening(parts.database.engine, commit=lambda _: seen.append(gc.isenabled())):
        assert run().expired == 1
    assert seen
    assert not any(seen)
    assert gc.isenabled()
    gc.disable()
    try:
        parts.requests.forget([], 0)
        assert not gc.isenabled()
    finally:
        gc.enable()


@ON_POSTGRESQL
@pytest.mark.parametrize("since", [7200.0, 400 * 86_400.0], ids=["files", "rows"])
def test_a_row_that_somebody_writes_is_left_to_the_next_run(parts: Deployment, since: float) -> None:
    """Nobody waits: neither the run for them, nor others for a run that waits."""
    rows = [overdue(parts, since) for _ in range(3)]
    if since > 7200:
        run()
        rows = [overdue(parts, since) for _ in range(3)]
    with parts.database.engine.connect() as somebody:
        somebody.execute(select(FileRequest.id).where(FileRequest.id == rows[1].id).with_for_update())
        began = time.monotonic()
        done = run()
        assert time.monotonic() - began < 5
        assert (done.expired, done.faults, done.away) == (2, 0, None)
        assert now(parts, rows[1]).state == State.READY
    assert run().expired == 1


@ON_POSTGRESQL
def test_two_batches_in_another_order_do_not_wait_for_each_other(parts: Deployment) -> None:
    """Each takes its rows in the order of their ids, and leaves what the other has."""
    rows = [overdue(parts) for _ in range(4)]
    with parts.database.engine.connect() as somebody:
        somebody.execute(select(FileRequest.id).where(FileRequest.id == rows[3].id).with_for_update())
        assert {row.id for row in parts.requests.expire(rows[::-1], 60)} == {row.id for row in rows[:3]}
        gone = parts.requests.drop_objects([now(parts, row) for row in rows])
        assert {row.id for row in gone} == {row.id for row in rows[:3]}


def test_a_batch_that_fails_changes_nothing(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows and their history are one transaction."""
    rows = [overdue(parts) for _ in range(2)]

    def lost(*_: object) -> None:
        raise OperationalError("", {}, Exception("the connection is gone"))

    with monkeypatch.context() as broken:
        broken.setattr("bgtasks.requests.cleaning.log_all", lost)
        assert run().away is not None
    assert [now(parts, row).state for row in rows] == [State.READY] * 2
    assert run().expired == 2


def test_a_link_that_lasts_longer_is_spared_within_a_batch(parts: Deployment) -> None:
    """The others of the batch go."""
    rows = [overdue(parts) for _ in range(3)]
    set_row(parts, rows[1], expires_at=in_seconds(3600))
    assert {row.id for row in parts.requests.expire(rows, 60)} == {rows[0].id, rows[2].id}


def test_a_bucket_removes_many_with_one_request(bucket: Bucket, tmp_path: Path) -> None:
    """Those that are gone already are no fault; on a disk each is removed by itself."""
    store = Store(bucket.url, tmp_path)
    for number in range(3):
        with store.open_writer(f"{number}/1") as writer:
            writer.write(b"123")
            writer.commit()
    assert store.delete_all(["0/1", "1/1", "gone/1"])
    assert list(store.keys()) == ["2/1"]
    assert not Store(str(tmp_path / "files"), tmp_path).delete_all(["0/1"])
