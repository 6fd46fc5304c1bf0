"""The object store: whole files or none, streamed both ways. The rules hold for every kind of store."""

from __future__ import annotations

import hashlib
import io
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from bgtasks import toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import ObjectMissing, TransientError
from bgtasks.stores import BUCKET_CHUNK, READ_CHUNK, WRITE_BUFFER, ObjectWriter, Store
from tests.support.file_types import Numbers

MEGABYTE = 1024 * 1024
SIZES = [0, 1, READ_CHUNK, WRITE_BUFFER + 1, 3 * WRITE_BUFFER]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


def contents(size: int) -> Iterator[bytes]:
    """So many bytes, in pieces of no round number."""
    piece = bytes(range(256)) * 1000
    for start in range(0, size, len(piece)):
        yield piece[: min(len(piece), size - start)]


def put(store: Store, key: str, size: int) -> ObjectWriter:
    """Write an object."""
    with store.open_writer(key) as writer:
        for piece in contents(size):
            assert writer.write(piece) == len(piece)
        writer.commit()
    return writer


def left(folder: Path) -> list[Path]:
    """Every file and folder, the hidden and the half-written ones too."""
    return sorted(folder.rglob("*"))


def is_empty(store: Store, folder: Path) -> bool:
    """Whether a store holds nothing. A bucket's unfinished uploads can't be seen: its own rules remove those."""
    return not list(store.keys()) and not left(folder)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read_again(store: Store, key: str, size: int) -> None:
    """Size and hash are known when the last byte is written; chunks are bounded."""
    writer = put(store, key, size)
    expected = b"".join(contents(size))
    chunks = list(store.read(key))
    assert b"".join(chunks) == expected
    assert max(map(len, chunks), default=0) <= (READ_CHUNK if store.local_path(key) else BUCKET_CHUNK)
    assert (writer.size, store.size(key)) == (size, size)
    assert writer.sha256 == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, 1), (0, 0), (1, 2 * WRITE_BUFFER), (WRITE_BUFFER - 1, 3), (2 * WRITE_BUFFER, WRITE_BUFFER)],
)
def test_a_part_is_read_and_nothing_else(store: Store, key: str, start: int, length: int) -> None:
    """Its bytes; and of the store no more is asked for, however large the object is."""
    put(store, key, 3 * WRITE_BUFFER)
    asked: list[int] = []
    get_range = obstore.get_range

    def counted(*arguments: Any, **more: Any) -> Any:
        asked.append(more["end"] - more["start"])
        return get_range(*arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(obstore, "get_range", counted)
        assert b"".join(store.read(key, start, length)) == b"".join(contents(3 * WRITE_BUFFER))[start : start + length]
    assert sum(asked) == length


def test_an_object_that_goes_while_it_is_read(store: Store, key: str) -> None:
    """The reader gets an error, and not the end of the file."""
    put(store, key, 3 * WRITE_BUFFER)
    reading = store.read(key)
    next(reading)
    store.delete(key)
    with pytest.raises(ObjectMissing):
        list(reading)


def test_an_object_that_is_too_short(store: Store, key: str) -> None:
    """Of a part that is not all there, what is missing is an error."""
    put(store, key, 10)
    with pytest.raises((ObjectMissing, TransientError)):
        list(store.read(key, 5, 10))


def test_an_answer_without_bytes_is_an_error(store: Store, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that sends nothing where there should be something is not asked for ever."""
    put(store, key, 10)
    monkeypatch.setattr(obstore, "get_range", lambda *_, **__: b"")
    with pytest.raises(ObjectMissing):
        list(store.read(key))


@pytest.mark.parametrize("size", SIZES)
def test_an_object_is_invisible_until_it_is_committed(store: Store, key: str, size: int) -> None:
    """Nobody reads half a file."""
    with store.open_writer(key) as writer:
        for piece in contents(size):
            writer.write(piece)
        with pytest.raises(ObjectMissing):
            store.size(key)
        with pytest.raises(ObjectMissing):
            store.read(key)
        writer.commit()
    assert store.size(key) == size


@pytest.mark.parametrize("size", SIZES)
def test_an_object_that_is_given_up_leaves_nothing(store: Store, folder: Path, key: str, size: int) -> None:
    """Neither a file nor a part of one nor a folder, whether it was closed or an error came."""
    with store.open_writer(key) as writer:
        for piece in contents(size):
            writer.write(piece)
    assert is_empty(store, folder)
    with pytest.raises(ZeroDivisionError), store.open_writer(key) as writer:
        for piece in contents(size):
            writer.write(piece)
        raise ZeroDivisionError
    assert is_empty(store, folder)


def test_a_given_up_object_does_not_touch_its_neighbour(store: Store, key: str) -> None:
    """Two workers may write for the same request: each under a key of its own."""
    put(store, key, 3)
    other = key.replace("/3", "/4")
    with store.open_writer(other) as writer:
        writer.write(b"given up")
    assert store.size(key) == 3
    with pytest.raises(ObjectMissing):
        store.size(other)


def test_a_closed_writer_takes_nothing_more(store: Store, key: str) -> None:
    """As Python's own files do; closing twice is no error, and committing twice is one."""
    writer = put(store, key, 3)
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"more")
    with pytest.raises(ValueError, match="committed before"):
        writer.commit()
    assert store.size(key) == 3


def test_a_wrapper_that_closes_the_file_takes_nothing_away(store: Store, folder: Path, key: str) -> None:
    """A text wrapper closes what it wraps when it is forgotten; what it wrote can be committed, or given up."""
    with store.open_writer(key) as writer:
        io.TextIOWrapper(writer, "utf-8").write("é")
        writer.commit()
    assert b"".join(store.read(key)) == "é".encode()
    store.delete(key)
    with store.open_writer(key) as writer:
        io.TextIOWrapper(writer, "utf-8").write("é")
    assert is_empty(store, folder)


@pytest.mark.parametrize(
    "piece", [b"bytes", bytearray(b"bytes"), memoryview(b"bytes"), memoryview(b"b.y.t.e.s.").cast("B")[:5]]
)
def test_any_buffer_may_be_written(store: Store, key: str, piece: bytes) -> None:
    """Formats write bytes, bytearrays and views; each is written whole."""
    with store.open_writer(key) as writer:
        assert writer.write(piece) == 5
        writer.commit()
    assert b"".join(store.read(key)) == bytes(piece)


def test_a_read_is_not_in_memory_at_once(tmp_path: Path, key: str) -> None:
    """A file of 300 MB passes through a process whose memory hardly grows."""
    (tmp_path / "files" / key).parent.mkdir(parents=True)
    with (tmp_path / "files" / key).open("wb") as sparse:
        sparse.truncate(300 * MEGABYTE)
    program = """
import sys
from pathlib import Path
from bgtasks.stores import Store
from tests.bench.memory import peak
store = Store("files", Path(sys.argv[1]))
before = peak()
read = sum(map(len, store.read(sys.argv[2])))
print(read, round(peak() - before))
"""
    size, grown = map(int, run(program, tmp_path, key).split())
    assert size == 300 * MEGABYTE
    assert grown < 60  # MiB


@pytest.mark.parametrize("ask", ["size", "read"])
def test_a_missing_object_is_said_at_once(store: Store, key: str, ask: str) -> None:
    """Before a response has begun."""
    with pytest.raises(ObjectMissing):
        getattr(store, ask)(key)


def test_delete_removes_the_object_and_its_empty_folder(store: Store, folder: Path, key: str) -> None:
    """It may be called again; a folder that still holds another object stays."""
    other = key.replace("/3", "/4")
    put(store, key, 3)
    put(store, other, 3)
    store.delete(key)
    store.delete(key)
    assert store.size(other) == 3
    store.delete(other)
    assert is_empty(store, folder)
    store.delete(other)


def test_a_full_disk_is_a_transient_error(tmp_path: Path, key: str) -> None:
    """Somebody will make room: the step is tried again later, and what it wrote is gone."""
    program = """
import resource, signal, sys
from pathlib import Path
from bgtasks.errors import TransientError
from bgtasks.stores import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, 1024 * 1024))
store = Store("files", Path(sys.argv[1]))
for size in (2, 30):  # megabytes: within the buffer, so that only the commit fails; and beyond it
    try:
        with store.open_writer(sys.argv[2]) as writer:
            for _ in range(size):
                writer.write(bytes(1024 * 1024))
            writer.commit()
    except TransientError as error:
        print(type(error.__cause__).__name__, "File too large" in str(error.__cause__))
print([str(path) for path in Path(sys.argv[1], "files").rglob("*")])
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    *errors, files = run(program, tmp_path, key).splitlines()
    assert len(errors) == 2
    assert all(error.endswith("True") for error in errors)
    assert files == "[]"


def test_a_folder_that_cannot_be_written_is_a_transient_error(tmp_path: Path, key: str) -> None:
    """A mount that is away, for example; also when it is first looked for."""
    (tmp_path / "files").write_text("a file where the folder should be")
    with pytest.raises(TransientError):
        Store("files", tmp_path)
    (tmp_path / "files").unlink()
    store = Store("files", tmp_path)
    (tmp_path / "files" / key).parent.write_text("a file where the request's folder should be")
    with pytest.raises(TransientError), store.open_writer(key) as writer:
        writer.write(b"x")
        writer.commit()


def test_an_error_tells_nothing_of_the_store(tmp_path: Path) -> None:
    """The sentence may be shown to the requester; the cause is for the log."""
    (tmp_path / "files").write_text("")
    with pytest.raises(TransientError) as caught:
        Store("files", tmp_path)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.__cause__ is not None


def run(program: str, *arguments: object) -> str:
    """What a program prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- in a deployment ------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_key_holds_the_id_and_the_fence_alone(parts: Deployment, tmp_path: Path) -> None:
    """Nothing that a user typed is in a path of the store."""
    asked = toolbox.add_request({"count": 2}, "numbers", "../../ada", filename="../../etc/passwd", description="../..")
    assert Numbers.handle(asked) is True
    row = parts.requests.get(asked.id)
    assert row is not None
    assert re.fullmatch(rf"{asked.id}/\d+", str(row.object_key))
    assert [path for path in left(tmp_path / "files") if path.is_file()] == [tmp_path / "files" / str(row.object_key)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_a_row_names_is_never_unstaged(parts: Deployment) -> None:
    """A step whose end was written after all, and only the answer lost, keeps its file."""
    asked = toolbox.add_request("by hand")
    held = parts.requests.take(asked, "me")
    put(parts.store, held.object_key, 3)
    parts.requests.publish(held, {"object_key": held.object_key}, None, waits=False)
    parts.unstage(held)
    assert parts.store.size(held.object_key) == 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("is_there", [True, False])
def test_what_no_row_names_is_unstaged(parts: Deployment, is_there: bool) -> None:
    """A step that lost its request removes what it wrote, also where the row is gone."""
    held = parts.requests.take(toolbox.add_request("by hand"), "me")
    put(parts.store, held.object_key, 3)
    parts.requests.cancel(held.file_request.id)
    if not is_there:
        parts.requests.delete(held.file_request.id)
    parts.unstage(held)
    with pytest.raises(ObjectMissing):
        parts.store.size(held.object_key)
