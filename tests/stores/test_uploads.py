"""Objects on their way into a bucket, on a real S3 API: in parts, in flat memory, and whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from celery.exceptions import SoftTimeLimitExceeded

from bgtasks import deployment, execution, registry, toolbox
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import BgtasksError, ClaimLost, ObjectMissing, RequestFailed, TransientError
from bgtasks.models import FileRequest
from bgtasks.states import State
from bgtasks.stores import WRITE_BUFFER, Store
from tests.clean.scenes import added, now, run
from tests.support.file_types import Numbers
from tests.support.s3 import Bucket

MEGABYTE = 1024 * 1024
#: Of which some have gone when the next one comes.
PARTS = 3


@pytest.fixture
def database_url(sqlite: str) -> str:
    """One kind is enough here."""
    return sqlite


@pytest.fixture
def conf(bucket: Bucket) -> dict[str, Any]:
    """The files are in a bucket."""
    return {"bgtasks_store_url": bucket.url}


@pytest.fixture
def store(bucket: Bucket, tmp_path: Path) -> Store:
    return Store(bucket.url, tmp_path)


@pytest.fixture
def key() -> str:
    return f"{uuid.uuid4()}/3"


def until(done: Callable[[], Any]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


UPLOAD = """
import sys
from pathlib import Path
from bgtasks.stores import Store
from tests.bench.memory import peak
store, size = Store(sys.argv[1], Path()), int(sys.argv[3])
piece = bytes(256 * 1024)
before = peak()
with store.open_writer(sys.argv[2]) as writer:
    for _ in range(0, size, len(piece)):
        writer.write(piece)
    writer.commit()
print(writer.size, round(peak() - before))
"""


def test_a_large_object_goes_in_parts_and_is_never_in_memory(bucket: Bucket, store: Store, key: str) -> None:
    """What is on its way, what waits, and what is being filled: nine parts, however large it is."""
    size = 128 * MEGABYTE
    argv = [sys.executable, "-c", UPLOAD, bucket.url, key, str(size)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    written, grown = map(int, done.stdout.split())
    assert written == store.size(key) == size
    assert 0 < grown < 11 * WRITE_BUFFER // MEGABYTE
    assert bucket.head(key)["ETag"].strip('"').endswith(f"-{size // WRITE_BUFFER}")  # S3 counts the parts there
    assert bucket.unfinished() == []


@pytest.mark.parametrize(("size", "parts"), [(WRITE_BUFFER, 0), (WRITE_BUFFER + 1, 2), (3 * WRITE_BUFFER, 3)])
def test_what_fits_into_one_part_is_one_request(bucket: Bucket, store: Store, key: str, size: int, parts: int) -> None:
    """Most files are small: no upload is begun and completed for them."""
    with store.open_writer(key) as writer:
        writer.write(bytes(size))
        writer.commit()
    assert bucket.head(key)["ETag"].strip('"').partition("-")[2] == (str(parts) if parts else "")


@pytest.mark.parametrize("size", [1, PARTS * WRITE_BUFFER + 1])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_an_upload_that_is_given_up_is_aborted(
    bucket: Bucket, store: Store, key: str, size: int, error: type[BaseException] | None
) -> None:
    """Neither an object nor an unfinished upload is left, whatever ended the writing."""
    begun: list[str] = []
    try:
        with store.open_writer(key) as writer:
            writer.write(bytes(size))
            if size > WRITE_BUFFER:
                until(lambda: begun or begun.extend(bucket.unfinished()))
            if error is not None:
                raise error
    except BaseException as raised:
        assert type(raised) is error  # noqa: PT017 - any of them
    assert bool(begun) is (size > WRITE_BUFFER)
    assert bucket.unfinished() == []
    assert list(store.keys()) == []


def test_a_service_that_goes_away_in_the_midst(
    bucket: Bucket, store: Store, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer hears of it at a later write, waits for nobody, and what is left can be given up."""
    put = obstore.put

    def broken(store: Any, key: str, parts: Any, **more: Any) -> Any:
        def some() -> Any:
            yield next(parts)
            raise OSError("the network is down")

        return put(store, key, some(), **more)

    monkeypatch.setattr(obstore, "put", broken)
    with pytest.raises(TransientError), store.open_writer(key) as writer:
        for _ in range(20):
            writer.write(bytes(WRITE_BUFFER))
    with pytest.raises(TransientError), store.open_writer(key) as writer:
        writer.write(bytes(WRITE_BUFFER + 1))
        writer.commit()
    assert bucket.unfinished() == []
    assert list(store.keys()) == []


def test_a_commit_that_is_interrupted_leaves_nothing(
    bucket: Bucket, store: Store, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object may have become whole before anybody could say so."""
    writer = store.open_writer(key)
    with pytest.raises(SoftTimeLimitExceeded), writer:
        writer.write(bytes(2 * WRITE_BUFFER))
        finish = writer._upload.finish  # type: ignore[union-attr]
        monkeypatch.setattr(writer._upload, "finish", lambda: (finish(), interrupt()))
        writer.commit()
    assert bucket.unfinished() == []
    assert list(store.keys()) == []


def interrupt() -> None:
    raise SoftTimeLimitExceeded


# -- in a step ----------------------------------------------------------------------------------------


@pytest.fixture
def midway(bucket: Bucket) -> Callable[[Callable[[FileRequest], None]], None]:
    """A file type whose file is several parts, and what happens when some of them are in the bucket, once."""
    deeds: list[Callable[[FileRequest], None]] = []

    @registry.register
    class Large(Numbers):
        file_type = "large"
        steps = ("write_bytes", "attach")

        def write_bytes(self, dataset: Any, buffer: Any) -> None:
            for _ in range(PARTS):
                buffer.write(bytes(WRITE_BUFFER))
            if deeds:
                until(bucket.unfinished)
                deeds.pop()(self.file_request)
            buffer.write(bytes(WRITE_BUFFER))

    return deeds.append


def raises(_: FileRequest) -> None:
    raise ZeroDivisionError


def cancels(row: FileRequest) -> None:
    found = deployment.current().requests.get(row.id)  # somebody else's copy of the row
    assert found is not None
    assert toolbox.cancel(found)


def is_overdue(_: FileRequest) -> None:
    raise SoftTimeLimitExceeded


@pytest.mark.parametrize(
    ("deed", "error", "state"),
    [
        (raises, RequestFailed, State.FAILED),
        (cancels, ClaimLost, State.CANCELLED),
        (is_overdue, RequestFailed, State.FAILED),
    ],
)
def test_a_step_that_ends_early_leaves_no_upload(
    parts: Deployment,
    bucket: Bucket,
    midway: Callable[[Any], None],
    deed: Callable[[FileRequest], None],
    error: type[BgtasksError],
    state: State,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error, a cancel, a soft limit: the bucket holds what it held before."""
    monkeypatch.setattr("bgtasks.leases.PROGRESS_EVERY", 0)  # the next write hears of a cancel
    midway(deed)
    row = added("large")
    with pytest.raises(error):
        execution.run("write_bytes", Claim.of(row), "a worker")
    assert now(parts, row).state == state
    assert bucket.unfinished() == []
    assert list(parts.store.keys()) == []


def test_contents_that_raise_leave_no_upload(parts: Deployment, bucket: Bucket) -> None:
    """The same by hand."""

    def contents() -> Any:
        yield bytes(PARTS * WRITE_BUFFER)
        until(bucket.unfinished)
        raise ZeroDivisionError

    row = added("")
    with pytest.raises(ZeroDivisionError):
        toolbox.attach_file(row, contents())
    assert now(parts, row).state == State.PENDING
    assert bucket.unfinished() == []
    assert list(parts.store.keys()) == []


KILLED = """
import sys, time
from pathlib import Path
from bgtasks.stores import WRITE_BUFFER, Store
with Store(sys.argv[1], Path()).open_writer(sys.argv[2]) as writer:
    writer.write(bytes(3 * WRITE_BUFFER))
    time.sleep(60)
"""


def test_a_child_that_is_killed_leaves_an_upload_for_the_buckets_rule(parts: Deployment, bucket: Bucket) -> None:
    """Nobody can abort it any more. No object is to be seen, the sweep is not disturbed, and the next try succeeds."""
    row = added()
    held = parts.requests.take(row, "a worker that is killed")
    child = subprocess.Popen([sys.executable, "-c", KILLED, bucket.url, held.object_key])
    until(bucket.unfinished)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    with pytest.raises(ObjectMissing):
        parts.store.size(held.object_key)
    assert (run().faults, run().away) == (0, None)
    assert len(bucket.unfinished()) == 1  # what AbortIncompleteMultipartUpload is for

    assert parts.requests.hand_back(held, None) is not None
    ready = toolbox.attach_file(now(parts, row), b"the next try")
    assert ready.object_key != held.object_key
    assert (run().orphans, list(parts.store.keys())) == (0, [ready.object_key])
    assert b"".join(parts.store.read(str(ready.object_key))) == b"the next try"
    assert os.path.basename(bucket.unfinished()[0]) == str(held.file_request.fence)  # noqa: PTH119 - a key
