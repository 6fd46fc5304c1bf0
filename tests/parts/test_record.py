"""The record of parts: workers, sweeps, people and late messages in any order, and what always holds."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import update

from bgtasks import execution, toolbox
from bgtasks.canvas import following
from bgtasks.claims import Claim, Held, HeldPart, PartClaim
from bgtasks.database import later
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost
from bgtasks.models import FileRequest, Part
from bgtasks.pacing import Pace
from bgtasks.requests import available
from bgtasks.requests.part_writer import Standing
from bgtasks.running import Outcome, RunningStep
from bgtasks.states import LIVE, EventKind, State
from bgtasks.sweeps import cleaning
from tests.record.machine import Machine, hold
from tests.record.moves import set_row

STEPS = ("build_items", "write_bytes", "attach", "notify")
MOST = 4  # workers at once
#: More rounds than any request needs in which every worker and every sweep does what it shall.
ROUNDS = 40
WHO = strategies.integers(0, MOST - 1)
RARELY = strategies.sampled_from([False, False, False, False, True])
SELDOM = strategies.sampled_from([False] * 9 + [True])
PARTS_AT_ONCE = strategies.sampled_from([None, 1, 2, 3])
#: How far an example has come when it begins. "retried late": before whoever has failed it has removed the parts.
STAGES = (
    "asked",
    "out",
    "overtaken",
    "lost often",
    "failed",
    "cancelled",
    "retried",
    "retried late",
    "written",
    "joined",
)
WHOLE = b"by one writer"


class Record(Machine):
    """One request, and the parts of its file."""

    steps = STEPS

    def __init__(self, parts: Deployment, stage: str) -> None:
        super().__init__(parts)
        self.stage = stage
        self.parting = parts.parting
        self.found: list[Part] = []  #: the parts, as they were seen last
        self.put: dict[str, dict[str, Any]] = {}  #: what was written, by the keys of objects
        self.most: int | None = None
        self.written_under = 0  #: the fence under which the parts went out for the last time
        self.unwanted: list[FileRequest] = []  #: rows whose parts somebody is about to remove
        self.cleaned: tuple[Any, ...] = ()  #: how things stood when a whole sweep came by

    @property
    def _stand(self) -> tuple[Any, ...]:
        parts = ((part.fence, part.leased_by, part.object_key) for part in self.found)
        return self.seen.state, self.seen.fence, self.seen.step, *parts

    def _part(self, number: int) -> Part | None:
        return next((part for part in self.parting.of(self.seen.id) if part.number == number), None)

    def _publish_standing(self, standing: Standing) -> None:
        self.messages += [PartClaim.of(standing.file_request, part) for part in standing.released]
        if not standing.released and standing.file_request.dispatch_at is not None:
            self._publish(standing.file_request)

    def _is_current(self, held: Held | HeldPart) -> bool:
        row = self._row()
        if isinstance(held, Held):
            return (row.fence, row.leased_by) == (held.file_request.fence, held.owner)
        part = self._part(held.part.number)
        is_mine = part is not None and (part.fence, part.leased_by) == (held.part.fence, held.owner)
        return row.parts_are_out and row.fence == held.file_request.fence and is_mine

    def _has_ended(self, held: HeldPart) -> bool:
        part, row = self._part(held.part.number), self._row()
        return part is not None and part.object_key == held.object_key and row.fence == held.file_request.fence

    @initialize(parts=strategies.integers(2, 5), most=PARTS_AT_ONCE)
    def begin(self, parts: int, most: int | None) -> None:
        """Some of it has happened already."""
        if self.stage != "asked":
            self._go_out(parts, most, overtaken=self.stage == "overtaken")
        if self.stage == "lost often":
            self._set_part(0, attempts=self.parts.settings.max_attempts - 1)
            self.the_parts_are_sound()
            self.recover_part(0, late=False, dies=False)
        elif self.stage == "cancelled":
            self.cancel(really=True, dies=False)
        elif self.stage in ("failed", "retried", "retried late"):
            self.fail(0, dies=False)
            self._retry(parts, most)
        elif self.stage in ("written", "joined"):
            self._end_parts()

    def _retry(self, parts: int, most: int | None) -> None:
        if self.stage == "failed":
            return
        self.the_parts_are_sound()
        for held in self._writers():
            self._put_part(held)
        if self.stage == "retried":
            self.drop()
        self.retry()
        self._go_out(parts, most)

    def _end_parts(self) -> None:
        doubtful = self.working[0]
        while self._row().parts_are_out:
            self._work()
        self._deliver(self.messages[-1])
        if self.stage == "joined":
            self.join(0)
        self.working.append(doubtful)

    def _go_out(self, parts: int, most: int | None, *, overtaken: bool = False) -> None:
        """As far as that two parts are being written.

        :param overtaken: by others each time, while who was thought dead lives.
        """
        self._take(overtaken)
        self.plan(-1, parts, dies=False)
        self._take(overtaken)
        self.fan_out(-1, most, dies=False)
        for message in self.messages[-2:]:
            if isinstance(message, PartClaim):
                self._deliver(message)
        if overtaken:
            self._sweep()
            for message in self.messages[-2:]:
                self._deliver(message)

    def _take(self, overtaken: bool) -> None:
        for again in (True, False)[not overtaken :]:
            self._deliver(self.messages[-1])
            self.the_parts_are_sound()
            if again:
                self.recover()

    # -- workers ------------------------------------------------------------------------------

    @precondition(lambda self: self.messages and len(self.working) < MOST)
    @rule(back=strategies.sampled_from([0, 0, 0, 0, 1, 1, *range(2, 12)]), doubt=RARELY)
    def deliver(self, back: int, doubt: bool) -> None:
        """A message comes: a new one, or an older one that is late or comes again."""
        self._deliver(self.messages[-1 - back % len(self.messages)], doubt)

    @precondition(lambda self: self.seen.parts_total is not None and len(self.working) < MOST)
    @rule(number=strategies.integers(0, 4))
    def deliver_what_is_not_due(self, number: int) -> None:
        """A message that nobody should have published: of any part as it is, whatever it is."""
        part = self._part(number)
        if part is not None:
            self._deliver(PartClaim.of(self._row(), part))

    def _deliver(self, message: tuple[str, str, Claim] | PartClaim, doubt: bool = False) -> None:
        self.owners += 1
        owner, row = f"worker {self.owners}", self._row()
        expected = self._is_due(message, row)
        try:
            for _ in range(2 if doubt else 1):  # its answer was lost, and it asks again
                held = self._claim(message, owner)
        except ClaimLost:
            assert not expected
            return
        assert expected
        self.working.append(held)

    def _is_due(self, message: tuple[str, str, Claim] | PartClaim, row: FileRequest) -> bool:
        if isinstance(message, PartClaim):
            part = self._part(message.number)
            waits = part is not None and part.leased_by is None and part.dispatch_at is not None
            same = part is not None and (row.fence, part.fence) == (message.request.fence, message.fence)
            return row.parts_are_out and waits and same
        step, _, claim = message
        return (row.fence, row.leased_by) == (claim.fence, None) and step in following(STEPS, row)[:1]

    def _claim(self, message: tuple[str, str, Claim] | PartClaim, owner: str) -> Held | HeldPart:
        if isinstance(message, PartClaim):
            return self.parting.claim(message, owner)
        step, last, claim = message
        return self.requests.claim(claim, step, last, owner)

    def _at(self, step: str) -> list[Held]:
        return [held for held in self.working if isinstance(held, Held) and held.step == step]

    def _writers(self) -> list[HeldPart]:
        return [held for held in self.working if isinstance(held, HeldPart)]

    @precondition(lambda self: self._at("build_items"))
    @rule(who=WHO, parts=strategies.integers(1, 5), dies=RARELY)
    def plan(self, who: int, parts: int, dies: bool) -> None:
        """So many parts, or one writer; maybe it dies once the parts are noted, or before it publishes what is next."""
        held = self._at("build_items")[who % len(self._at("build_items"))]
        expected = self._is_current(held)
        if parts > 1:
            assert self._writes(lambda: self.parting.plan(held, [{"range": n} for n in range(parts)])) is expected
        if not (dies and self.owners % 2):
            made = {"parts_total": parts, "parts_done": 0} if parts > 1 else {"parts_total": None}
            assert self._writes(lambda: self.requests.finish(held, made, waits=True)) is expected
            if expected and not dies:
                self._publish(self._row())
        self.working.remove(held)

    @precondition(lambda self: self._at("write_bytes"))
    @rule(who=WHO, most=PARTS_AT_ONCE, dies=RARELY)
    def fan_out(self, who: int, most: int | None, dies: bool) -> None:
        """The parts go out, or one writer makes the file; maybe it dies before it publishes them."""
        held = self._at("write_bytes")[who % len(self._at("write_bytes"))]
        self.working.remove(held)
        expected = self._is_current(held)
        if held.file_request.parts_total is None:
            made = self._put(held.object_key, WHOLE)
            assert self._writes(lambda: self.requests.finish(held, made, waits=True)) is expected
            if not expected:
                self.parts.unstage(held)
            elif not dies:
                self._publish(self._row())
            return
        try:
            standing = self.parting.fan_out(held, {"object_key": None}, most)
        except ClaimLost:
            assert not expected
            return
        assert expected
        self.most, self.written_under = most, held.file_request.fence
        if not dies:
            self._publish_standing(standing)

    @precondition(lambda self: self._writers())
    @rule(who=WHO, killed=RARELY)
    def write(self, who: int, killed: bool) -> None:
        """A part's object becomes whole, however late; or its writer is killed before that."""
        held = self._writers()[who % len(self._writers())]
        if not killed:
            self._put_part(held)
            return
        self.working.remove(held)
        staged = Path(f"{self.parts.store.local_path(held.object_key)}#1")
        staged.parent.mkdir(exist_ok=True)
        staged.write_bytes(b"half")

    def _put_part(self, held: HeldPart) -> dict[str, Any]:
        """What its end notes; the object is written once."""
        key, contents = held.object_key, _contents(held.file_request.fence, held.part.number)
        if key not in self.put:
            self.put[key] = self._put(key, contents) | {"rows": 1}
        return self.put[key]

    def _put(self, key: str, contents: bytes) -> dict[str, Any]:
        with self.parts.store.open_writer(key) as writer:
            writer.write(contents)
            writer.commit()
        return {"object_key": key, "size": writer.size, "sha256": writer.sha256}

    @precondition(lambda self: self._writers())
    @rule(who=WHO, doubt=RARELY, dies=RARELY)
    def finish(self, who: int, doubt: bool, dies: bool) -> None:
        """A part ends. Its answer may be lost: it ends again, later. Or it dies before it publishes what comes next."""
        held = self._writers()[who % len(self._writers())]
        expected = self._is_current(held) or self._has_ended(held)
        outcome = self._put_part(held)
        try:
            standing = self.parting.finish(held, outcome)
        except ClaimLost:
            assert not expected
            self.working.remove(held)
            self.parts.unstage_part(held)
            return
        assert expected
        row = self._row()
        given = standing.file_request
        assert (given.fence, given.step, given.parts_done) == (row.fence, row.step, row.parts_done)
        assert (given.dispatch_at is None) is row.parts_are_out
        if not doubt:
            self.working.remove(held)
            if not dies:
                self._publish_standing(standing)

    @precondition(lambda self: self._at("attach"))
    @rule(who=WHO)
    def join(self, who: int) -> None:
        """The parts become one object, which the row names from then on; who has lost the request names nothing."""
        held = self._at("attach")[who % len(self._at("attach"))]
        running, expected = self._running(held), self._is_current(held)
        row = self._row()
        joins = held.file_request.parts_are_written and held.file_request.object_key is None
        if expected and joins:
            assert [(part.number, part.object_key) for part in self.parting.of(row.id)] == [
                (n, f"{row.id}/{self.written_under}.{n}.{(self._part(n) or Part()).fence}")
                for n in range(row.parts_total or 0)
            ]
        try:
            running.begin_anew()
        except ClaimLost:
            running.unstage()
            assert not expected
            self.working.remove(held)
            return
        except Exception:
            running.unstage()
            assert not expected  # its parts are somebody else's, or gone
            self.working.remove(held)
            return
        assert joins or running.held is held  # what is joined stays as it is
        self.working[self.working.index(held)] = running.held

    def _running(self, held: Held) -> RunningStep:
        lease: Any = SimpleNamespace(note=lambda **_: None)
        return RunningStep(self.parts, held, lease, SimpleNamespace())

    @precondition(lambda self: any(held.file_request.object_key for held in self._at("attach")))
    @rule(who=WHO, dies=RARELY)
    def attach(self, who: int, dies: bool) -> None:
        """The file is ready, and its parts go; or whoever makes it so dies before they do."""
        able = [held for held in self._at("attach") if held.file_request.object_key]
        held = able[who % len(able)]
        self.working.remove(held)
        expected = self._is_current(held)
        if dies:
            assert self._writes(lambda: self.requests.publish(held, {}, 600, waits=True)) is expected
            return
        ended = lambda: execution._end(self._running(held), Outcome(available(600), EventKind.READY), is_last=False)  # noqa: E731
        assert self._writes(ended) is expected
        if expected:
            self._publish(self._row())

    @precondition(lambda self: self._at("notify"))
    @rule(who=WHO)
    def tell(self, who: int) -> None:
        """The last step."""
        held = self._at("notify")[who % len(self._at("notify"))]
        self.working.remove(held)
        expected = self._is_current(held)
        assert self._writes(lambda: self.requests.finish(held, {}, waits=False)) is expected

    @precondition(lambda self: self.working)
    @rule(who=WHO)
    def beat(self, who: int) -> None:
        """A heartbeat holds what is held, also after a lapse, and nothing else; and so does a line of progress."""
        held = self.working[who % len(self.working)]
        expected = self._is_current(held)
        assert self._record(held).renew(held) is expected
        assert self._writes(lambda: self._record(held).progress(held, rows_written=1)) is expected

    @precondition(lambda self: self.working)
    @rule(who=WHO, delay=strategies.sampled_from([0, 60]))
    def hand_back(self, who: int, delay: float) -> None:
        """A service is away, or the worker is told to stop."""
        held = self.working.pop(who % len(self.working))
        expected, before = self._is_current(held), self._row()
        given = self._record(held).hand_back(held, delay, "stopping")
        assert (given is not None) is expected
        assert self._row().attempts == before.attempts
        if isinstance(given, Part):
            assert given.fence == held.part.fence + 1
            self.messages.append(PartClaim.of(self._row(), given))
            self.parts.unstage_part(held)
        elif given is not None:
            self._publish(given)

    @precondition(lambda self: any(held.file_request.state in LIVE for held in self.working))
    @rule(who=WHO, dies=RARELY)
    def fail(self, who: int, dies: bool) -> None:
        """The user's code raises; maybe it dies before it removes the parts."""
        able = [held for held in self.working if held.file_request.state in LIVE]
        held = able[who % len(able)]
        self.working.remove(held)
        expected = self._is_current(held)
        row = self._row()
        doubtful = (row.fence, row.state) == (held.file_request.fence + 1, State.FAILED) and isinstance(held, HeldPart)
        failed = lambda: self._record(held).fail(held, "internal_error", "No.", waits=True)  # noqa: E731
        assert self._writes(failed) is (expected or doubtful)
        if isinstance(held, HeldPart):
            self.parts.unstage_part(held)
        if expected:
            assert self._row().fence == row.fence + isinstance(held, HeldPart)
            self._over(dies)

    @precondition(lambda self: self.working)
    @rule(who=WHO)
    def die(self, who: int) -> None:
        """A worker is killed: it leaves its lease and its object."""
        self.working.pop(who % len(self.working))

    def all_who_have_lost_it_write(self) -> None:
        """Whatever it is that they write, and whatever message comes that is not due: nothing changes by that."""
        before = self._everything()
        for held in self.working:
            if not self._is_current(held):
                self._write_all(held)
                assert self._everything() == before
        row = self._row()
        for message in dict.fromkeys(self.messages):
            if not self._is_due(message, row):
                assert not self._writes(functools.partial(self._claim, message, "a late worker"))
        assert self._everything() == before

    def _write_all(self, held: Held | HeldPart) -> None:
        record = self._record(held)
        assert not record.renew(held)
        assert record.hand_back(held, 60, "stopping") is None
        assert not self._writes(lambda: record.progress(held, rows_written=7))
        if isinstance(held, HeldPart):
            made = {"object_key": held.object_key, "size": 1, "sha256": "", "rows": 7}
            assert self._writes(lambda: self.parting.finish(held, made)) is self._has_ended(held)
            self._writes(lambda: self.parting.fail(held, "internal_error", "No.", waits=True))
        else:
            assert not self._writes(lambda: self.parting.plan(held, [{}, {}]))
            assert not self._writes(lambda: self.parting.fan_out(held, {}, None))

    def _everything(self) -> list[dict[str, Any]]:
        rows = [self._row(), *self.parting.of(self.seen.id), *self.requests.history(self.seen.id)]
        return [{name: value for name, value in vars(row).items() if name[0] != "_"} for row in rows]

    def _record(self, held: Held | HeldPart) -> Any:
        return self.parts.record_of(held)

    # -- time, sweeps and people ----------------------------------------------------------------

    @precondition(lambda self: self.seen.leased_by is not None)
    @rule()
    def recover(self) -> None:
        """No heartbeat of a step came in time."""
        taken = self.requests.recover(set_row(self.parts, self.seen, leased_until=later(-1)))
        assert taken is not None
        if taken.dispatch_at is not None:
            self._publish(taken)

    @precondition(lambda self: any(part.leased_by for part in self.found))
    @rule(who=WHO, late=RARELY, dies=RARELY)
    def recover_part(self, who: int, late: bool, dies: bool) -> None:
        """None of a part's; the sweep may have looked before one that comes late after all."""
        leased = [part for part in self.parting.of(self.seen.id) if part.leased_by]
        seen = self._lapse(leased[who % len(leased)])
        row = self._row()
        revived = late and any(self.parting.renew(held) for held in self._writers() if held.owner == seen.leased_by)
        standing = self.parting.recover(row, seen)
        assert (standing is not None) is (row.parts_are_out and not revived)
        if standing is not None:
            assert bool(standing.released) is (seen.attempts + 1 < self.parts.settings.max_attempts)
            assert [part.fence for part in standing.released] in ([], [seen.fence + 1])
        if standing is not None and not standing.released:
            assert (standing.file_request.state, standing.file_request.fence) == (State.FAILED, row.fence + 1)
            self._over(dies)
        elif standing is not None and not dies:
            self._publish_standing(standing)

    def _lapse(self, part: Part) -> Part:
        self._set_part(part.number, leased_until=later(-1))
        found = self._part(part.number)
        assert found is not None
        return found

    def _set_part(self, number: int, **values: Any) -> None:
        same = Part.request_id == self.seen.id, Part.number == number
        with self.parts.database.writing() as session:
            session.execute(update(Part).where(*same).values(values))

    @precondition(lambda self: self.seen.dispatch_at is not None)
    @rule()
    def dispatch(self) -> None:
        """The sweep publishes what has waited for too long."""
        due = self.requests.dispatch(set_row(self.parts, self._row(), dispatch_at=later(-1)), 60)
        assert due is not None
        self._publish(due)

    @precondition(lambda self: any(part.dispatch_at for part in self.found))
    @rule(postpones=RARELY, number=strategies.integers(0, 4))
    def dispatch_part(self, postpones: bool, number: int) -> None:
        """The same of parts; those that do not wait are never published, also if they did when they were seen."""
        row, seen = self._row(), self._part(number)
        if seen is None:
            return
        expected = row.parts_are_out and seen.dispatch_at is not None
        due = (self.parting.postpone if postpones else self.parting.dispatch)(row, seen)
        assert (due is not None) is expected
        assert self.parting.dispatch(row, seen) is None  # two sweeps have seen it
        if due is not None:
            assert due.fence == seen.fence
            self.messages.append(PartClaim.of(row, due))

    @rule(really=SELDOM, dies=RARELY)
    def cancel(self, really: bool, dies: bool) -> None:
        """Somebody gives it up; seldom, since little can come after it."""
        if really:
            expected = self._row().state in LIVE
            assert (self.requests.cancel(self.seen.id) is not None) is expected
            if expected:
                self._over(dies)

    def _over(self, dies: bool) -> None:
        """It has ended: whoever has done that is about to remove the parts, and to wake somebody who tells it."""
        row = self._row()
        self.unwanted.append(row)
        if not dies:
            self._publish(row)

    @precondition(lambda self: self.unwanted)
    @rule()
    def drop(self) -> None:
        """Somebody removes the parts of a request that has ended, however late."""
        self.parts.drop_parts(self.unwanted.pop())

    @precondition(lambda self: self.seen.fence)
    @rule(stages=strategies.sampled_from(["list", "judge", "remove", "list judge", "judge remove"]))
    def clean_slowly(self, stages: str) -> None:
        """A sweep reads the store, looks at the rows later, and removes even later what none of them names."""
        for stage in stages.split():
            if stage == "list":
                self.listed = self._objects()
            elif stage == "judge":
                self.judged = self.requests.orphans(self.listed)
            else:
                for orphan in self.judged:
                    self.parts.store.delete(orphan.text)

    @precondition(lambda self: self.cleaned != self._stand)
    @rule()
    def clean(self) -> None:
        """A whole sweep, which finishes what others have begun."""
        self.cleaned = self._stand
        done = cleaning.clean(Pace())
        assert (done.faults, done.away) == (0, None)
        row, found = self._row(), self.parting.of(self.seen.id)
        named = {row.object_key, *(part.object_key for part in found)}
        held = {f"{row.id}/{row.fence}.{part.number}.{part.fence}" for part in found if part.leased_by}
        if row.leased_by is not None:
            held.add(f"{row.id}/{row.fence}")
        assert {key.text.partition("#")[0] for key in self._objects()} <= named | held
        assert row.state in LIVE or found == []

    # -- what always holds ----------------------------------------------------------------------

    @invariant()
    def the_parts_are_sound(self) -> None:
        """Each names its own object, they are counted, not too many are out, and somebody may go on with one."""
        row, found = self._row(), self.parting.of(self.seen.id)
        assert row.fence >= self.seen.fence
        self.seen, self.found = row, found
        is_written = row.parts_are_written and row.object_key is None
        if row.parts_are_out or is_written:
            done = [part for part in found if part.object_key is not None]
            assert [part.number for part in found] == list(range(row.parts_total or 0))
            assert row.parts_done == len(done)
            for part in done:
                assert part.object_key == f"{row.id}/{self.written_under}.{part.number}.{part.fence}"
                assert (part.leased_by, part.leased_until, part.dispatch_at) == (None, None, None)
                assert self.parts.store.size(part.object_key) == part.size
        if row.parts_are_out:
            assert row.fence == self.written_under
            out = [part for part in found if part.dispatch_at is not None or part.leased_by is not None]
            left = len(found) - len(done)
            assert len(out) == min(left, self.most or left), "nobody would go on, or too many do"
        assert all((part.leased_by is None) == (part.leased_until is None) for part in found)

    @invariant()
    def the_row_is_sound(self) -> None:
        """What a row names is there, and a live one that nobody holds waits for somebody."""
        row = self.seen
        if row.object_key is not None and row.state in (*LIVE, State.READY):
            assert self.parts.store.size(row.object_key) == row.size
        if row.state in LIVE and row.leased_by is None and not row.parts_are_out:
            assert row.dispatch_at is not None or row.fence == 0, "nobody would ever go on with it"

    def teardown(self) -> None:
        """Everybody dies; then workers and sweeps do what they shall: the request ends, and a file is right."""
        self.all_who_have_lost_it_write()
        self.working.clear()
        for _ in range(ROUNDS):
            if self._row().state not in LIVE and not following(STEPS, self._row()) and self._row().leased_by is None:
                break
            self._sweep()
            self._work()
            self.the_parts_are_sound()
        row, history = self._row(), self.requests.history(self.seen.id)
        ends = [entry.fence for entry in history if (entry.kind, entry.step) == (EventKind.STEP, "write_bytes")]
        assert len(ends) == len(set(ends)), "the chain went on more than once with the same parts"
        lives = [entry.kind for entry in history if entry.kind in (EventKind.FAILED, EventKind.RETRIED)]
        assert all(now != then for now, then in itertools.pairwise(lives)), "it has failed more than once in a life"
        assert row.state not in LIVE, [(entry.kind, entry.step) for entry in history]
        if row.state == State.READY:
            parts = [_contents(self.written_under, number) for number in range(row.parts_total or 0)]
            assert b"".join(self.parts.store.read(str(row.object_key))) == (b"".join(parts) or WHOLE)
        assert cleaning.clean(Pace()).faults == 0
        assert {key.text for key in self._objects()} <= {row.object_key if row.state == State.READY else None}
        assert self.parting.of(row.id) == []
        assert toolbox.delete(row)

    def _sweep(self) -> None:
        if self._row().leased_by is not None:
            self.recover()
        elif self._row().dispatch_at is not None:
            self.dispatch()
        for part in self.parting.of(self.seen.id):
            if part.leased_by is not None:
                self._lapse(part)
            elif part.dispatch_at is not None:
                self._set_part(part.number, dispatch_at=later(-1))
        for row, part in self.parting.lapsed(["numbers"]):
            if row.id == self.seen.id and (standing := self.parting.recover(row, part)) is not None:
                self._publish_standing(standing)
        for waiting in self.parting.waiting(["numbers"], 3600):
            row = waiting.file_request
            if row.id == self.seen.id and (due := self.parting.dispatch(row, waiting.part)) is not None:
                self.messages.append(PartClaim.of(row, due))
        self.seen = self._row()

    def _work(self) -> None:
        for message in self.messages[-5:] if self._row().parts_are_out else self.messages[-1:]:
            self._deliver(message)
        while self.working:
            held = self.working[0]
            if isinstance(held, HeldPart):
                self.finish(0, doubt=False, dies=False)
            elif held.step == "build_items":
                self.plan(0, 3, dies=False)
            elif held.step == "write_bytes":
                self.fan_out(0, 2, dies=False)
            elif held.step == "attach":
                self.join(0)
                self.attach(0, dies=False)
            else:
                self.tell(0)


def _contents(fence: int, number: int) -> bytes:
    """What a part is written as."""
    return f"part {number} under {fence};".encode()


def test_the_record_of_parts_holds_in_any_order(parts: Deployment) -> None:
    """No order of deliveries, deaths, lapses, sweeps, cancels and retries loses a part, doubles one or leaves any."""
    is_postgresql = parts.database.is_postgresql
    for stage in STAGES[2::3] if is_postgresql else STAGES:
        hold(functools.partial(Record, parts, stage), examples=2 if is_postgresql else 4, steps=25)
