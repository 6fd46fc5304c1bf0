"""Several objects become one, in each kind of store: whole or not at all, and the parts stay as they are."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgtasks.errors import BgtasksError, ClaimLost, ObjectMissing, StoreFull, TransientError
from bgtasks.object_keys import ObjectKey
from bgtasks.store_urls import scheme
from bgtasks.stores import Store, folder_joining
from tests.stores.scenes import FEW, check, content, is_as_before, part, written
from tests.support.s3 import Bucket

MEGABYTE = 1024 * 1024
LEAST = 5 * MEGABYTE
#: Sizes of parts, and of how many pieces S3 makes an object of them; 0: it is not asked to.
CASES = {
    "nothing": ([], 0),
    "empty": ([0, 0], 0),
    "small": ([3, 0, 4], 0),
    "large": ([LEAST + 3, 6 * MEGABYTE], 2),
    "packed": ([1, 2, LEAST, 3, 2 * LEAST + 5, LEAST - 1, 0, 7], 5),
}


@pytest.mark.parametrize(("sizes", "count"), CASES.values(), ids=CASES)
def test_parts_become_one_object(
    store: Store, bucket: Bucket, key: str, sizes: list[int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their order, whatever their sizes are. S3 copies what is large, is sent what is not, and counts the pieces."""
    is_s3 = scheme(store.url) == "s3"
    if is_s3 and count:
        monkeypatch.setattr("bgtasks.stores.streamed", None)
    parts, asked = written(store, key, sizes), []
    check(store, key, parts, store.join(parts, key, lambda: asked.append(1)))
    assert len(asked) >= len(sizes)  # who watches is asked with every part
    if is_s3:
        assert bucket.head(key)["ETag"].strip('"').partition("-")[2] == (str(count) if count else "")
        assert bucket.unfinished() == []


def test_a_new_object_has_a_folder_of_its_own(store: Store, key: str) -> None:
    """Its parts may be another request's."""
    parts = written(store, f"{uuid.uuid4()}/3", [3, 4])
    check(store, key, parts, store.join(parts, key))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("fault", ["gone", "shorter", "other", "emptied"])
def test_a_part_that_is_not_what_it_was(store: Store, key: str, fault: str) -> None:
    """No object is made of it; where S3 has copied the part before anybody read it, that is aborted."""
    parts = written(store, key, [FEW + 1, FEW + 2, 3])
    store.delete(parts[1].key)
    now = {"shorter": content(FEW, 1), "other": content(FEW + 2, 2), "emptied": b""}
    left = [parts[0], part(store, parts[1].key, now[fault]), parts[2]] if fault in now else [parts[0], parts[2]]
    with pytest.raises(ObjectMissing):
        store.join(parts, key)
    is_as_before(store, left)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("after", [1, 4, 7])
def test_what_the_watch_raises_ends_it(store: Store, bucket: Bucket, key: str, after: int) -> None:
    """A cancel, for example, at any moment: nothing is left."""
    parts, asked = written(store, key, [FEW + 1, 3, FEW]), iter(range(100))

    def watch() -> None:
        if next(asked) == after:
            raise ClaimLost("id")

    with pytest.raises(ClaimLost):
        store.join(parts, key, watch)
    is_as_before(store, parts, bucket)


# -- on a disk ------------------------------------------------------------------------------------------


def fewer(source: int, file: int, length: int) -> int:
    """A kernel that copies less than it is asked for."""
    return os_copy(source, file, max(length // 2, 1))


def refusing(number: int, after: int = 0) -> Callable[..., int]:
    """A kernel, or a file system, that does not copy, or not any more."""
    calls = iter(range(10**9))

    def copy(source: int, file: int, length: int) -> int:
        if next(calls) < after:
            return os_copy(source, file, length)
        raise OSError(number, os.strerror(number))

    return copy


os_copy = os.copy_file_range


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 40), max_size=5),
    st.sampled_from([
        lambda: os_copy,
        lambda: fewer,
        lambda: lambda *_: 0,
        *(lambda number=number: refusing(number) for number in folder_joining.REFUSALS),
        lambda: refusing(errno.EXDEV, after=2),
    ]),
)  # fmt: skip
def test_whoever_copies_the_bytes_are_the_same(
    tmp_path: Path, sizes: list[int], copying: Callable[[], Callable[..., int]]
) -> None:
    """The kernel, all or less than was asked; or this process, from the beginning or from there on."""
    store, key = Store(str(tmp_path / str(uuid.uuid4())), tmp_path), f"{uuid.uuid4()}/3"
    parts = written(store, key, sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_joining, "CHUNK", 16)
        patch.setattr(os, "copy_file_range", copying())
        joined = store.join(parts, key)
    check(store, key, parts, joined)


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, TransientError), (errno.ENOENT, TransientError)],
)
def test_a_disk_that_fails_in_the_midst(
    tmp_path: Path, key: str, number: int, error: type[BgtasksError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again later, and there is room as before."""
    store = Store("files", tmp_path)
    parts = written(store, key, [folder_joining.CHUNK, 10])
    monkeypatch.setattr(os, "copy_file_range", refusing(number, after=1))
    with pytest.raises(error) as caught:
        store.join(parts, key)
    assert type(caught.value) is error
    is_as_before(store, parts)


FULL = """
import sys
from pathlib import Path
from bgtasks.errors import StoreFull
from bgtasks.stores import PartObject, Store
store = Store("files", Path(sys.argv[1]))
with store.open_writer("id/2.0.1") as writer:
    writer.write(bytes(600 * 1024))
    writer.commit()
try:
    store.join([PartObject("id/2.0.1", writer.size, writer.sha256)] * 2, "id/3")
except StoreFull as error:
    print(type(error.__cause__).__name__, sorted(path.name for path in Path(sys.argv[1], "files/id").iterdir()))
"""


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A real one, of a megabyte."""
    mounted = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable]
    done = subprocess.run([*argv, FULL], check=False, capture_output=True, text=True)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("nobody may have a file system of one's own here")
    assert (done.stdout, done.stderr) == ("OSError ['2.0.1']\n", "")


def test_a_file_that_nobody_may_copy_to_the_end(tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that becomes shorter while it is read is no file's end."""
    store = Store("files", tmp_path)
    parts = written(store, key, [2 * folder_joining.CHUNK])
    asked = iter(range(100))

    def watch() -> None:
        if next(asked) == 2:  # its first chunk has been read
            os.truncate(tmp_path / "files" / parts[0].key, folder_joining.CHUNK)

    with pytest.raises(ObjectMissing):
        store.join(parts, key, watch)
    is_as_before(store, parts)


KILLED = """
import sys, time
from pathlib import Path
from bgtasks.stores import PartObject, Store
store, (size, sha256) = Store("files", Path(sys.argv[1])), sys.argv[4:]
asked = iter(range(100))
store.join([PartObject(sys.argv[2], int(size), sha256)] * 2, sys.argv[3], lambda: next(asked) < 4 or time.sleep(60))
"""


def test_what_a_killed_process_leaves_is_found(tmp_path: Path, key: str) -> None:
    """Under the name that a killed upload's has too, and in nobody's way."""
    store = Store("files", tmp_path)
    (made,) = written(store, key, [LEAST])
    argv = [sys.executable, "-c", KILLED, str(tmp_path), made.key, key, str(made.size), made.sha256]
    child = subprocess.Popen(argv)
    staged = tmp_path / "files" / f"{key}#1"
    deadline = time.monotonic() + 30
    while not (staged.exists() and staged.stat().st_size >= folder_joining.CHUNK):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert list(store.keys()) == [made.key, f"{key}#1"]
    assert getattr(ObjectKey.parse(f"{key}#1"), "is_staged", False)
    joined = store.join([made], key)
    store.delete(f"{key}#1")
    check(store, key, [made], joined)
