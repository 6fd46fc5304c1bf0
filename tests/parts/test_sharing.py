"""Parts that one process writes while others have some of them; and what each is spared of the others' faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import pytest
from sqlalchemy import delete, insert, select, update

from bgtasks import endings, leases, registry, toolbox
from bgtasks.claims import HeldPart, PartClaim
from bgtasks.database import later
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost, RequestFailed, TransientError
from bgtasks.models import Event, FileRequest, Part
from bgtasks.pacing import Pace
from bgtasks.states import EventKind, State
from bgtasks.sweeps import parts as parted
from bgtasks.sweeps import recovering
from bgtasks.sweeps.processing import Processed, process
from tests.parts.test_chain import ROWS, TABLE, Divided
from tests.record.moves import advanced, claim
from tests.support.divided import EACH, begin, fan_out, finish

#: What happens once while the first part is being written.
deeds: list[Callable[[FileRequest], None]] = []


class Shared(Divided):
    """The same rows in four parts."""

    file_type = "shared"
    written: ClassVar[list[int]] = []  #: the numbers of the parts whose writing has come to its end

    def write_part(self, dataset: Any, buffer: BinaryIO, number: int) -> None:
        while deeds:
            deeds.pop()(self.file_request)
        super().write_part(dataset, buffer, number)
        self.written.append(number)


@pytest.fixture(autouse=True)
def _filled(parts: Deployment) -> None:
    registry.register(Shared)
    Shared.written.clear()
    TABLE.metadata.create_all(parts.database.engine)
    with parts.database.writing() as session:
        session.execute(insert(TABLE), [{"number": n, "name": f"name {n}"} for n in range(ROWS)])


@pytest.fixture
def held(parts: Deployment) -> HeldPart:
    """The third of four parts, which another worker has; the others are written by this process."""
    taken: list[HeldPart] = []
    deeds.append(lambda row: taken.append(claimed(parts, row, 2)))
    request = toolbox.add_request({}, "shared", "ada@example.com", schedule=True)
    assert not registry.dispatch(request.id)
    return taken[0]


def claimed(parts: Deployment, row: FileRequest, number: int) -> HeldPart:
    return parts.parting.claim(PartClaim.of(row, parts.parting.of(row.id)[number]), f"another worker {number}")


def set_part(parts: Deployment, held: HeldPart, **values: Any) -> None:
    """What only time does otherwise."""
    same = Part.request_id == held.file_request.id, Part.number == held.part.number
    with parts.database.writing() as session:
        session.execute(update(Part).where(*same).values(values))


def state_of(parts: Deployment, id: str) -> list[dict[str, Any]]:
    """All that the record has of a request."""
    rows = [parts.requests.get(id), *parts.parting.of(id), *parts.requests.history(id)]
    return [{name: value for name, value in vars(row).items() if name[0] != "_"} for row in rows]


def test_what_others_have_is_left_to_them(parts: Deployment, held: HeldPart) -> None:
    """This process writes all that it can get; then it disturbs nobody, until their leases have lapsed."""
    id = held.file_request.id
    assert [part.number for part in parts.parting.of(id) if part.object_key] == [0, 1, 3]
    before = state_of(parts, id)
    assert not registry.dispatch(id)
    assert process(Pace()) == Processed()
    assert state_of(parts, id) == before

    set_part(parts, held, leased_until=later(-1))
    assert process(Pace()) == Processed(handled=1)
    row = parts.requests.get(id)
    assert row is not None
    assert (row.state, row.rows_written, row.attempts) == (State.READY, ROWS, 0)
    written = b"".join(parts.store.read(str(row.object_key)))
    assert written == b"number,name\r\n" + b"".join(f"{n},name {n}\r\n".encode() for n in range(ROWS))
    assert [key for key in list(parts.store.keys()) if key.startswith(id)] == [row.object_key]


def test_a_plan_is_noted_once_more_where_its_answer_was_lost(parts: Deployment) -> None:
    """Under one claim the same plan leaves the same rows, and another one only its own."""
    held = claim(parts, advanced(parts, "fetch_criteria"))
    id, ranges = held.file_request.id, [{"lower": number} for number in range(3)]
    parts.parting.plan(held, ranges)
    before = state_of(parts, id)
    assert [part.range for part in parts.parting.of(id)] == ranges
    parts.parting.plan(held, ranges)
    assert state_of(parts, id) == before
    parts.parting.plan(held, ranges[1:])
    assert [(part.number, part.range) for part in parts.parting.of(id)] == [*enumerate(ranges[1:])]


def test_a_part_that_is_one_too_many_is_not_written_to_its_end(
    parts: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others have noted of their parts counts at its next note, before any of them has ended."""
    monkeypatch.setattr(leases, "PROGRESS_EVERY", 0.0)
    others: list[HeldPart] = []

    def fill(row: FileRequest) -> None:
        others.append(claimed(parts, row, 2))
        parts.parting.progress(others[0], rows_written=ROWS // 2)
        monkeypatch.setattr(Shared, "max_rows", ROWS // 2)  # which was not so yet when they were counted

    deeds.append(fill)
    request = toolbox.add_request({}, "shared", "ada@example.com", schedule=True)
    with pytest.raises(RequestFailed):
        registry.dispatch(request.id)
    row = parts.requests.get(request.id)
    assert row is not None
    assert (row.state, row.error_code, row.parts_done, Shared.written) == (State.FAILED, "too_many_rows", 0, [])
    with pytest.raises(ClaimLost):
        parts.parting.progress(others[0], rows_written=ROWS // 2 + 1)
    assert [key for key in list(parts.store.keys()) if key.startswith(row.id)] == []


def test_a_cancel_between_two_looks_at_the_request(
    parts: Deployment, held: HeldPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has read the row before it, and claims after it, gets nothing."""
    get, waiting = parts.parting.get, parts.parting.hand_back(held, 0)
    assert waiting is not None

    def late(id: str) -> FileRequest | None:
        row = get(id)
        parts.requests.cancel(id)
        return row

    monkeypatch.setattr(parts.parting, "get", late)
    with pytest.raises(ClaimLost):
        parts.parting.claim(PartClaim.of(held.file_request, waiting), "a worker")


def test_each_part_has_a_patience_of_its_own(parts: Deployment, held: HeldPart) -> None:
    """An outage meets all of them at once: it is no longer for that. And each is handed back for longer each time."""
    row = held.file_request
    with parts.database.writing() as session:
        same = {"request_id": row.id, "kind": EventKind.HANDED_BACK, "step": "write_bytes"}
        session.execute(insert(Event), [{**same, "detail": "part 1: service_away"}] * endings.MOST_HAND_BACKS)
    for dispatches in (0, 6):
        set_part(parts, held, dispatches=dispatches)
        held = HeldPart(row, parts.parting.of(row.id)[2], held.owner)
        with pytest.raises(ClaimLost):
            endings.after(parts, held, TransientError())
        seen = parts.parting.of(row.id)[2]
        with parts.database.reading() as session:
            is_soon = session.scalar(
                select(Part.dispatch_at < later(20)).where(Part.request_id == row.id, Part.number == 2)
            )
        assert bool(is_soon) is (dispatches == 0)
        held = parts.parting.claim(PartClaim.of(row, seen), held.owner)

    with parts.database.writing() as session:
        session.execute(insert(Event), [{**same, "detail": "part 3: service_away"}] * endings.MOST_HAND_BACKS)
    with pytest.raises(RequestFailed):
        endings.after(parts, held, TransientError())


def test_a_part_that_was_handed_back_has_no_message(parts: Deployment, held: HeldPart) -> None:
    """Whatever waits in its queue: the sweep publishes it when it is due, and believes in that message then."""
    parts.parting.hand_back(held, 60)
    parted.dispatch(lambda _: 5)
    assert parts.parting.of(held.file_request.id)[2].published_at is None
    known = set()
    for _ in range(2):
        set_part(parts, held, dispatch_at=later(-1))
        parted.dispatch(lambda _: 5)
        seen = parts.parting.of(held.file_request.id)[2]
        known.add((seen.dispatches, seen.published_at))
    assert known == {(2, seen.published_at)}
    assert seen.published_at is not None


def test_a_child_that_dies_before_it_publishes_the_next_part(parts: Deployment) -> None:
    """Where not all are out at once: it is published as soon as the death is known, once."""
    row = fan_out(parts, most=1)
    known = PartClaim.of(row, parts.parting.of(row.id)[0])
    finish(parts, begin(parts, row, 0, EACH))
    for _ in range(2):
        recovering.recover_lost(known, "of the dead", overdue=False)
    assert [part.dispatches for part in parts.parting.of(row.id)] == [0, 1, 0]


def test_a_file_lacks_no_part(parts: Deployment, held: HeldPart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the record has lost one, there is no file."""
    set_part(parts, held, leased_until=later(-1))
    row, end = held.file_request, parts.parting.finish

    def forgetful(*args: Any) -> Any:
        standing = end(*args)
        with parts.database.writing() as session:
            session.execute(delete(Part).where(Part.request_id == row.id, Part.number == 1))
        return standing

    monkeypatch.setattr(parts.parting, "finish", forgetful)
    assert process(Pace()) == Processed(failed=1)
    ended = parts.requests.get(row.id)
    assert ended is not None
    assert (ended.state, ended.object_key) == (State.FAILED, None)
