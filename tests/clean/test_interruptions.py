"""The sweep may be killed at any point, repeated, doubled, and find a service away: nothing is lost, nothing stays."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from bgtasks import sweeps
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured
from bgtasks.models import FileRequest
from bgtasks.states import State
from bgtasks.stores.folders import Folder
from bgtasks.sweeps import cleaning
from bgtasks.sweeps.cleaning import Cleaned
from tests.clean.scenes import (
    LONG_AGO,
    advanced,
    cancelled,
    claim,
    failed,
    finished,
    in_seconds,
    keys,
    now,
    orphan,
    overdue,
    path,
    put,
    run,
    set_row,
    stage,
)
from tests.record.conftest import Outage
from tests.record.moves import at_once, told


class Killed(BaseException):
    """What no handler of an error may catch: the process ends here."""


@dataclass
class Scene:
    """Something of everything that the sweep may find."""

    parts: Deployment
    expired: list[FileRequest]
    leftovers: list[FileRequest]
    old: list[FileRequest]
    kept: list[str]

    def assert_sound(self) -> None:
        """At any time: what somebody needs is there, whole; and a key goes only after its object."""
        left = keys(self.parts)
        assert set(self.kept) <= left
        for row in (now(self.parts, each) for each in self.expired):
            assert row.state in (State.READY, State.EXPIRED)
            assert row.object_key in left or row.state == State.EXPIRED
            assert row.object_key is not None or f"{row.id}/1" not in left

    def assert_clean(self) -> None:
        """In the end: nothing is left that nobody needs, and each file has expired once."""
        assert keys(self.parts) == set(self.kept)
        for row in (*self.expired, *self.leftovers):
            assert now(self.parts, row).object_key is None
        for row in self.expired:
            assert told(self.parts, row).count("expired") == 1
        assert [self.parts.requests.get(row.id) for row in self.old] == [None, None]
        assert run() == Cleaned()


@pytest.fixture
def scene(parts: Deployment) -> Scene:
    """Two of each, so that a run can be killed after the first."""
    old = [set_row(parts, failed(parts), finished_at=in_seconds(LONG_AGO)) for _ in range(2)]
    orphan(parts)
    stage(parts, orphan(parts))
    writing = claim(parts, advanced(parts, "build_items"))
    kept = [finished().object_key, put(parts, writing.object_key), stage(parts, writing.object_key)]
    return Scene(
        parts,
        expired=[overdue(parts), overdue(parts)],
        leftovers=[cancelled(parts), failed(parts)],
        old=old,
        kept=[str(key) for key in kept],
    )


@contextlib.contextmanager
def killed(owner: Any, name: str, nth: int, after: bool) -> Iterator[None]:
    """The process is killed right before or after the nth call of a method."""
    call, calls = getattr(owner, name), 0

    def deadly(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and not after:
            raise Killed
        answer = call(*arguments)
        if calls == nth:
            raise Killed
        return answer

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(owner, name, deadly)
        yield


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", ["expire", "drop_objects", "forget", "orphans", "delete"])
def test_a_killed_run_is_finished_by_the_next(scene: Scene, point: str, nth: int, after: bool) -> None:
    """Whichever transaction or removal was its last."""
    owner = scene.parts.store if point == "delete" else scene.parts.requests
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cleaning, "BATCH", 3)
        patched.setattr(cleaning, "MOST_ROWS", 1)
        patched.setattr(cleaning, "ROWS", 1)
        with killed(owner, point, nth, after):
            run()
    scene.assert_sound()
    run()
    scene.assert_clean()


@pytest.mark.parametrize("nth", range(3, 10))
def test_every_removal_may_be_the_last(scene: Scene, nth: int) -> None:
    """Of two expired files, four leftovers, two orphans and what was staged beside one of them."""
    with killed(scene.parts.store, "delete", nth, after=True):
        run()
    scene.assert_sound()
    assert len(keys(scene.parts)) == len(scene.kept) + 9 - nth
    run()
    scene.assert_clean()


def test_two_runs_at_once_do_no_harm(scene: Scene) -> None:
    """Two beats, or a beat and cron: each thing is done once, and nobody fails over the other."""
    scene.expired += [overdue(scene.parts) for _ in range(20)]
    answers = at_once([run] * 4)
    assert all(isinstance(answer, Cleaned) for answer in answers)
    assert [(answer.faults, answer.away) for answer in answers] == [(0, None)] * 4
    assert sum(answer.expired for answer in answers) == len(scene.expired)
    assert sum(answer.rows for answer in answers) == len(scene.old)
    scene.assert_clean()


def test_the_bounds_are_those_of_the_whole_run(scene: Scene) -> None:
    """So many requests and objects at most, of whatever kind; the next run goes on."""
    runs = 0
    while (done := run(items=2)) != Cleaned():
        assert done.expired + done.leftovers + done.rows + done.orphans <= 2
        scene.assert_sound()
        runs += 1
        assert runs < 200
    assert runs >= 4
    run(items=len(keys(scene.parts)))  # each of those began anywhere, and may have missed the same few objects
    scene.assert_clean()


def test_no_time_is_nothing_done(scene: Scene) -> None:
    """And no query is made for it."""
    before = keys(scene.parts)
    assert run(timeout=0) == Cleaned()
    assert keys(scene.parts) == before


# -- services that are away -----------------------------------------------------------------------


def test_a_database_that_is_away_ends_the_run(
    impatient: None, scene: Scene, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning and no error of the task's; what is left is for the next run."""
    with outage():
        done = run()
        sweeps.clean()
    assert done.away is not None
    assert (done.expired, done.rows, done.faults) == (0, 0, 0)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "left for the next run" in caplog.text
    scene.assert_sound()
    run()
    scene.assert_clean()


@contextlib.contextmanager
def store_away(parts: Deployment) -> Iterator[None]:
    """Something else is where the files should be."""
    folder = path(parts, "")
    aside = folder.rename(folder.with_name("aside"))
    folder.write_text("")
    yield
    folder.unlink()
    aside.rename(folder)


def test_a_store_that_is_away_ends_the_run(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """At the first object that it does not remove: the others are not even tried."""
    with store_away(scene.parts):
        done = run()
        sweeps.clean()
    assert done.away is not None
    assert (done.expired, done.leftovers, done.rows, done.orphans, done.faults) == (0, 0, 0, 0, 0)
    assert [record.levelno for record in caplog.records if record.levelno > logging.INFO] == [logging.WARNING]
    assert "NotADirectoryError" in caplog.text
    scene.assert_sound()
    run()
    scene.assert_clean()


def test_a_store_that_vanishes_while_it_is_listed_ends_the_run(parts: Deployment) -> None:
    """An empty listing would be something else: the store is away, and no object of it is gone."""
    finished()
    folder = path(parts, "")
    folder.rename(folder.with_name("aside"))
    assert isinstance(run().away, Exception)


def test_a_store_that_cannot_even_be_opened_ends_the_run(parts: Deployment, tmp_path: Path) -> None:
    """It is opened when it is first needed: within the run."""
    (tmp_path / "files").write_text("")
    assert "store" in str(run().away)


def test_one_that_cannot_be_removed_keeps_no_other(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """It has expired, keeps its key, costs a line in the log each time, and does not use up a bounded run."""
    broken = scene.expired.pop(0)
    in_the_way = path(scene.parts, str(broken.object_key))
    in_the_way.unlink()
    (in_the_way / "file").mkdir(parents=True)
    done = run()
    assert (done.expired, done.faults, done.away) == (2, 1, None)
    assert now(scene.parts, broken).state == State.EXPIRED
    assert caplog.text.count("can't be cleaned") == 1
    late = overdue(scene.parts)
    for _ in range(2):
        run(items=1)
    assert now(scene.parts, late).object_key is None
    (in_the_way / "file").rmdir()
    in_the_way.rmdir()
    run()
    scene.assert_clean()


def test_a_folder_that_cannot_be_read_hides_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its objects wait; everything else is cleaned."""
    hidden = orphan(scene.parts)
    with _unreadable(hidden, monkeypatch):
        done = run()
    assert (done.faults, done.away) == (0, None)
    assert "is left out" in caplog.text
    assert keys(scene.parts) == {*scene.kept, hidden}


@contextlib.contextmanager
def _unreadable(key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    scandir = os.scandir

    def refuse(folder: Any) -> Any:
        if str(folder).endswith(key.partition("/")[0]):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        yield


def test_a_folder_that_goes_while_the_sweep_walks_is_no_fault(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another run was there first."""
    files = Folder._files

    def late(self: Folder, folder: str) -> list[str]:
        gone = path(scene.parts, str(uuid.uuid4()))
        assert files(self, gone.name) == []
        return files(self, folder)

    monkeypatch.setattr(Folder, "_files", late)
    assert run().away is None
    assert caplog.text == ""


def test_a_missing_table_is_no_outage(parts: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    """It says how to make it, and no next run would help."""
    FileRequest.metadata.drop_all(parts.database.engine)
    with pytest.raises(ImproperlyConfigured, match="celery bgtasks migrate"):
        sweeps.clean()


def test_a_time_limit_of_the_deployment_is_no_fault_of_a_request(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the run, as any other task."""

    def overdue_itself(_: str) -> None:
        raise SoftTimeLimitExceeded

    with monkeypatch.context() as patched:
        patched.setattr(scene.parts.store, "delete", overdue_itself)
        with pytest.raises(SoftTimeLimitExceeded):
            run()
    scene.assert_sound()
    run()
    scene.assert_clean()


def test_beat_says_what_was_done_and_nothing_where_nothing_was(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """One line for each run that has found something; no names and no addresses in it."""
    with caplog.at_level(logging.INFO):
        sweeps.clean()
        sweeps.clean()
    assert len(caplog.records) == 1
    assert "expired: 2" in caplog.text
    assert "@" not in caplog.text
    scene.assert_clean()
