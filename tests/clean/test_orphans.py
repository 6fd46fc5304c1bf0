"""Objects that no row names, nor ever will, are removed; one that is in use never is, and age plays no part."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgtasks import execution, registry, sweeps, toolbox
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost
from bgtasks.models import FileRequest, Part
from bgtasks.object_keys import ObjectKey
from bgtasks.states import State
from bgtasks.stores import WRITE_BUFFER
from bgtasks.sweeps.cleaning import FEW
from tests.clean.scenes import (
    added,
    cancelled,
    claim,
    end,
    finished,
    keys,
    now,
    orphan,
    path,
    put,
    run,
    set_row,
    stage,
    written,
)
from tests.record.moves import advanced, lapse
from tests.support.file_types import Numbers

FENCE = 5


@pytest.mark.parametrize("names", [None, "it", "another"])
@pytest.mark.parametrize(
    ("fence", "leased_by", "is_over"),
    [
        (FENCE + 1, None, True),
        (FENCE + 1, "a worker", True),
        (FENCE, "its writer", False),
        # The step has ended: what it has written is its outcome, or nobody's.
        (FENCE, None, True),
        # As after a restore of an older copy of the database: who knows.
        (FENCE - 1, None, False),
        (FENCE - 1, "a worker", False),
    ],
)
def test_an_object_is_an_orphan_if_no_row_can_name_it_any_more(
    parts: Deployment, fence: int, leased_by: str | None, is_over: bool, names: str | None
) -> None:
    """By the row's fence and the key that it names; what was staged goes once its fence is over, whatever it names."""
    asked = added()
    key, other = f"{asked.id}/{FENCE}", f"{asked.id}/{FENCE - 2}"
    for each in (key, other):
        put(parts, each)
    staged = stage(parts, key)
    named = {"it": key, "another": other}.get(names or "")
    set_row(parts, asked, state=State.RUNNING, fence=fence, leased_by=leased_by, object_key=named)
    run()
    left = keys(parts)
    assert (key in left) is (not is_over or names == "it")
    assert (staged in left) is not is_over
    assert (other in left) is (names == "another")


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize(
    ("fence", "part_fence", "leased_by", "is_over"),
    [
        (FENCE, 2, "its writer", False),
        (FENCE, 2, None, True),  # it has ended, or was handed back
        (FENCE, 3, "a worker", True),
        (FENCE, 3, None, True),
        (FENCE, None, None, True),
        (FENCE + 1, 2, "its writer", True),  # a cancel, a failure, or the joining
        (FENCE + 1, None, None, True),
        # As after a restore of an older copy of the database: who knows.
        (FENCE, 1, None, False),
        (FENCE - 1, None, None, False),
    ],
)
def test_an_object_of_a_part_is_an_orphan_if_nobody_can_name_it_any_more(
    parts: Deployment, fence: int, part_fence: int | None, leased_by: str | None, is_over: bool, names: bool
) -> None:
    """By the fences of the request and of the part, and by the key that the part names."""
    asked = added()
    key = put(parts, f"{asked.id}/{FENCE}.0.2")
    staged = stage(parts, key)
    set_row(parts, asked, state=State.RUNNING, fence=fence, parts_total=2, parts_done=0)
    if part_fence is not None:
        known = {"fence": part_fence, "leased_by": leased_by, "object_key": key if names else None}
        with parts.database.writing() as session:
            session.add(Part(request_id=asked.id, number=0, range={}, **known))
    run()
    left = keys(parts)
    assert (key in left) is (not is_over or (names and part_fence is not None))
    assert (staged in left) is not is_over


def test_an_object_whose_row_is_gone_is_an_orphan(parts: Deployment) -> None:
    """With its folder, and whatever was staged beside it."""
    lost = orphan(parts)
    stage(parts, lost)
    put(parts, f"{lost}.0.1")
    kept = finished()
    assert run().orphans == 3
    assert keys(parts) == {kept.object_key}
    assert not path(parts, lost).parent.exists()


def test_a_row_that_was_deleted_without_its_object(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever deletes a request may die in between."""
    row = finished()
    with monkeypatch.context() as killed:
        killed.setattr(parts.store, "delete", lambda _: None)
        toolbox.delete(row)
    assert keys(parts) == {row.object_key}
    run()
    assert keys(parts) == set()


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "backup/3",
        "{id}",
        "{id}/report.pdf",
        "{id}/03",
        "{id}/0",
        "{id}/-3",
        "{id}/3/4",
        "{id}/3.csv",
        "{id}/3.1",
        "{id}/3.01.2",
        "{id}/3.1.0",
        "{id}/3.1.2.3",
        "{id}/3#",
        "{id}/3#x",
        "{upper}/3",
        "{{{id}}}/3",
        "{hex}/3",
        "deep/{id}/3",
        "{id}\n/3",
        "{id}/" + 30 * "3",
    ],
)
def test_what_is_not_ours_is_left_alone(parts: Deployment, name: str) -> None:
    """Somebody may keep other things there, wisely or not."""
    id = uuid.uuid4()
    foreign = path(parts, name.format(id=id, upper=str(id).upper(), hex=id.hex))
    foreign.parent.mkdir(parents=True, exist_ok=True)
    foreign.write_bytes(b"mine")
    if foreign.name != str(id):
        put(parts, f"{id}/7")
    run()
    assert foreign.read_bytes() == b"mine"
    assert not any(ObjectKey.parse(key) for key in keys(parts))


def test_links_and_folders_are_left_alone(parts: Deployment, tmp_path: Path) -> None:
    """We make none: neither is followed, nor removed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "3").write_bytes(b"mine")
    link, inner = path(parts, str(uuid.uuid4())), path(parts, f"{uuid.uuid4()}/3")
    link.symlink_to(tmp_path / "elsewhere")
    inner.parent.mkdir()
    inner.symlink_to(tmp_path / "elsewhere" / "3")
    folder = path(parts, f"{uuid.uuid4()}/3")
    folder.mkdir(parents=True)
    run()
    assert (tmp_path / "elsewhere" / "3").exists()
    assert (link.is_symlink(), inner.is_symlink(), folder.is_dir()) == (True, True, True)


def test_empty_folders_of_requests_go(parts: Deployment) -> None:
    """Others stay; so does one with an object in it."""
    kept, empty, foreign = finished(), path(parts, str(uuid.uuid4())), path(parts, "lost+found")
    empty.mkdir()
    foreign.mkdir()
    run()
    assert (path(parts, str(kept.object_key)).exists(), empty.exists(), foreign.exists()) == (True, False, True)


# -- beside workers -----------------------------------------------------------------------------------


def test_an_object_that_appears_while_the_sweep_reads_is_safe(
    parts: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are read after the store: what was listed before its step ended is named by then, or still held."""
    held = claim(parts, advanced(parts, "build_items"))
    put(parts, held.object_key)
    judge = parts.requests.orphans

    def late(stored: list[ObjectKey]) -> list[ObjectKey]:
        end(parts, claim(parts, end(parts, held)))  # both write_bytes and attach, since the listing
        return judge(stored)

    monkeypatch.setattr(parts.requests, "orphans", late)
    assert run().orphans == 0
    assert now(parts, held.file_request).state == State.READY
    assert keys(parts) == {held.object_key}


@pytest.fixture
def while_writing() -> Callable[[Callable[[FileRequest], None]], None]:
    """A file type whose file is larger than the buffer, and a way to let something happen in its midst, once."""
    deeds: list[Callable[[FileRequest], None]] = []

    @registry.register
    class Slow(Numbers):
        file_type = "slow"
        steps = ("write_bytes", "attach")

        def write_bytes(self, dataset: Any, buffer: Any) -> None:
            buffer.write(bytes(WRITE_BUFFER + 1))
            for deed in [deeds.pop()] if deeds else []:
                deed(self.file_request)
            buffer.write(bytes(WRITE_BUFFER + 1))

        @classmethod
        def restore(cls, file_request: FileRequest) -> Any:
            made = super().restore(file_request)
            made.file_request = file_request
            return made

    return deeds.append


@pytest.fixture
def taken_over(parts: Deployment) -> Callable[[FileRequest], None]:
    """The worker is paused for longer than its lease, another one makes the file, and a sweep comes by."""

    def take(row: FileRequest) -> None:
        assert any("#" in key for key in keys(parts))  # the paused one's upload has begun
        lapse(parts, row)
        sweeps.recover()
        if row.file_type:
            assert execution.run_outstanding(now(parts, row))
        else:
            toolbox.attach_file(now(parts, row), b"by another")
        run()
        assert keys(parts) == {now(parts, row).object_key}

    return take


def test_a_worker_that_was_thought_dead_finds_its_claim_lost(
    parts: Deployment, while_writing: Any, taken_over: Callable[[FileRequest], None]
) -> None:
    """Its upload was removed under its hands; the file that is ready is the other one's, and stays."""
    while_writing(taken_over)
    row = added("slow")
    with pytest.raises(ClaimLost):
        execution.run("write_bytes", Claim.of(row), "paused worker")
    after = now(parts, row)
    assert after.state == State.READY
    assert parts.store.size(str(after.object_key)) == after.size
    run()
    assert keys(parts) == {after.object_key}


def test_a_handler_that_was_thought_dead_finds_its_claim_lost(
    parts: Deployment, taken_over: Callable[[FileRequest], None]
) -> None:
    """The same by hand: ClaimLost, and no error of the store's."""
    row = added("")

    def contents() -> Iterator[bytes]:
        yield bytes(WRITE_BUFFER + 1)
        taken_over(now(parts, row))

    with pytest.raises(ClaimLost):
        toolbox.attach_file(row, contents())
    after = now(parts, row)
    assert (after.state, b"".join(parts.store.read(str(after.object_key)))) == (State.READY, b"by another")
    assert keys(parts) == {after.object_key}


def test_an_upload_under_way_is_not_disturbed(parts: Deployment, while_writing: Any) -> None:
    """However long it takes, as long as its step holds the request."""
    while_writing(lambda _: run(leeway=0))
    row = added("slow")
    assert execution.run_outstanding(row)
    assert parts.store.size(str(now(parts, row).object_key)) == 2 * (WRITE_BUFFER + 1)


def test_a_file_that_is_written_anew_loses_the_old_one(parts: Deployment) -> None:
    """Whoever died after the row named the new object left the old one."""
    row = written(parts)
    held = parts.requests.claim(Claim.of(row), "scan", row.step, "a step of the user's own")
    put(parts, held.object_key)
    parts.requests.finish(held, {"object_key": held.object_key}, waits=True)
    assert run().orphans == 1
    assert keys(parts) == {held.object_key}


# -- bounded ------------------------------------------------------------------------------------------


def test_bounded_runs_give_every_object_its_turn(parts: Deployment) -> None:
    """Each begins somewhere else: many small runs find what one large run would."""
    kept = {finished().object_key for _ in range(12)}
    for _ in range(4):
        orphan(parts)
    for _ in range(400):
        assert run(items=3).orphans <= 3
        if keys(parts) == kept:
            return
    pytest.fail("some objects never had their turn")


def test_one_query_serves_a_batch(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one for each object nor all keys at once."""
    judge, asked = parts.requests.orphans, []
    monkeypatch.setattr("bgtasks.sweeps.cleaning.BATCH", 4)
    monkeypatch.setattr(parts.requests, "orphans", lambda stored: asked.append(len(stored)) or judge(stored))
    for _ in range(10):
        orphan(parts)
    assert run().orphans == 10
    assert asked == [4, 4, 2]


def test_an_orphan_that_cannot_be_removed_keeps_no_other(
    parts: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs a line in the log, each time."""
    stubborn, other = orphan(parts), orphan(parts)
    unlink = Path.unlink

    def refuse(self: Path, *args: Any) -> None:
        if self == path(parts, stubborn):
            raise PermissionError(1, "Operation not permitted", str(self))
        unlink(self, *args)

    monkeypatch.setattr(Path, "unlink", refuse)
    done = run()
    assert (done.orphans, done.faults, done.away) == (1, 1, None)
    assert keys(parts) == {stubborn}
    assert other not in caplog.text
    assert stubborn in caplog.text


def test_a_cancelled_writer_leaves_nothing(parts: Deployment) -> None:
    """Killed at any point: the row names what it had, and the sweep finds the rest."""
    row = cancelled(parts)
    put(parts, f"{row.id}/{row.fence - 1}")
    stage(parts, f"{row.id}/{row.fence - 2}")
    run()
    assert keys(parts) == set()


# -- the wrong table ----------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [0, 3])
@pytest.mark.parametrize("items", [None, 10_000])
def test_a_store_of_another_table_is_left_alone(
    parts: Deployment, caplog: pytest.LogCaptureFixture, known: int, items: int | None
) -> None:
    """A URL that is wrong or an older copy of the database must not cost everybody's files, also if it is in use."""
    stored = {orphan(parts) for _ in range(FEW + 5)} | {str(finished().object_key) for _ in range(known)}
    done = run(items=items)
    assert (done.orphans, done.spared, keys(parts)) == (0, FEW + 5, stored)
    assert "is it the database of these files" in caplog.text
    assert run(all_orphans=True).orphans == FEW + 5
    assert len(keys(parts)) == known


def test_many_orphans_among_more_files_go(parts: Deployment) -> None:
    """Such as those of somebody who was forgotten while the store was away."""
    for _ in range(FEW + 5):
        orphan(parts)
        finished()
    assert run().orphans == FEW + 5


def test_a_store_is_judged_by_all_that_a_run_has_seen(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not by each small batch."""
    monkeypatch.setattr("bgtasks.sweeps.cleaning.BATCH", 4)
    for _ in range(FEW + 20):
        orphan(parts)
    assert run().orphans <= FEW
