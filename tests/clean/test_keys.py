"""What a store tells of its objects: every key, in order, from anywhere, and never all of them in memory."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from bgtasks import stores
from bgtasks.errors import TransientError
from bgtasks.stores import Store, folders

IDS = sorted(str(uuid.uuid4()) for _ in range(25))
KEYS = [f"{id}/{fence}" for id in IDS for fence in (1, 3)]


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A folder and a bucket, each with so many objects that they take several pages."""
    monkeypatch.setattr(folders, "WALK_PAGE", 4)
    monkeypatch.setattr(stores, "LIST_PAGE", 4)
    made = Store("files" if request.param == "folder" else "memory:///", tmp_path)
    for key in reversed(KEYS):
        with made.open_writer(key) as writer:
            writer.write(b"123")
            writer.commit()
    return made


def test_every_key_is_told_once_and_in_order(store: Store) -> None:
    """Page after page."""
    assert list(store.keys()) == KEYS


@pytest.mark.parametrize("number", [0, 1, 12, 24])
def test_a_listing_begins_where_it_is_told_to(store: Store, number: int) -> None:
    """With the objects of that request; whether there are any or not."""
    expected = KEYS[2 * number :]
    assert list(store.keys(IDS[number])) == expected
    for key in KEYS[2 * number : 2 * number + 2]:
        store.delete(key)
    assert list(store.keys(IDS[number])) == expected[2:]


def test_a_listing_beyond_the_last_is_empty(store: Store) -> None:
    """And a store that answers so is there."""
    assert list(store.keys("ffffffff-ffff-ffff-ffff-ffffffffffff")) == []
    for key in KEYS:
        store.delete(key)
    assert list(store.keys()) == []
    assert store.is_there()


def test_objects_may_go_while_they_are_listed(store: Store) -> None:
    """Each of the others is told all the same."""
    seen, listing = [], store.keys()
    for key in listing:
        seen.append(key)
        store.delete(key)
    assert seen == KEYS


def test_what_was_staged_is_told_and_can_be_removed(tmp_path: Path) -> None:
    """obstore neither lists it nor takes its name; only a folder has such."""
    store = Store("files", tmp_path)
    staged = tmp_path / "files" / IDS[0] / "3#1"
    staged.parent.mkdir()
    staged.write_bytes(b"12")
    assert list(store.keys()) == [f"{IDS[0]}/3#1"]
    store.delete(f"{IDS[0]}/3#1")
    store.delete(f"{IDS[0]}/3#1")
    assert list((tmp_path / "files").iterdir()) == []


def test_an_upload_under_way_is_staged_like_that(tmp_path: Path) -> None:
    """The name is obstore's own: the day that it is another, this says so."""
    store = Store("files", tmp_path)
    with store.open_writer(KEYS[0]) as writer:
        writer.write(bytes(stores.WRITE_BUFFER + 1))
        assert list(store.keys()) == [f"{KEYS[0]}#1"]
        writer.commit()
    assert list(store.keys()) == [KEYS[0]]


@pytest.mark.parametrize("becomes", ["nothing", "a file"])
def test_a_folder_that_is_away_is_not_an_empty_one(tmp_path: Path, becomes: str) -> None:
    """A transient error, from the first key on."""
    store = Store("files", tmp_path)
    (tmp_path / "files").rmdir()
    if becomes == "a file":
        (tmp_path / "files").write_text("")
    assert not store.is_there()
    with pytest.raises(TransientError):
        next(store.keys())


def test_a_bucket_that_does_not_answer_is_a_transient_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that it does not find."""
    store = Store("memory:///", tmp_path)
    for error in (FileNotFoundError("no such bucket"), OSError("no route")):
        monkeypatch.setattr("obstore.list", lambda *_, error=error, **__: _failing(error))
        assert not store.is_there()
        with pytest.raises(TransientError):
            next(store.keys())


def _failing(error: OSError) -> object:
    raise error
    yield


def test_an_empty_store_keeps_its_own_folder(tmp_path: Path) -> None:
    """Only folders of requests go."""
    store = Store("files", tmp_path)
    (tmp_path / "files" / IDS[0]).mkdir()
    assert list(store.keys()) == []
    assert list((tmp_path / "files").iterdir()) == []
    assert (tmp_path / "files").is_dir()


def test_a_walk_over_many_folders_needs_little_memory(tmp_path: Path) -> None:
    """Of 10,000 names there is never more than a page in memory; in a process of its own, which has nothing else."""
    program = """
import sys, tracemalloc
from pathlib import Path
from bgtasks import stores
from bgtasks.stores import folders
folders.WALK_PAGE = 500
store = stores.Store("files", Path(sys.argv[1]))
for number in range(10_000):
    Path(sys.argv[1], "files", f"{number:08}-0000-0000-0000-000000000000").mkdir()
tracemalloc.start()
print(list(store.keys()), tracemalloc.get_traced_memory()[1])
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    found, peak = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split()
    assert found == "[]"
    assert int(peak) < 500_000
    assert list((tmp_path / "files").iterdir()) == []
