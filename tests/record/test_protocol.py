"""The protocol as a whole: workers, sweeps, people and late messages in any order, and what always holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from hypothesis import strategies
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
)

from bgtasks import notifiers
from bgtasks.canvas import TELL_EXPIRY, following
from bgtasks.claims import Held
from bgtasks.database import later
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost
from bgtasks.models import FileRequest
from bgtasks.notifiers import Message
from bgtasks.pacing import Pace
from bgtasks.requests.reminding import Reminder
from bgtasks.states import LIVE, EventKind, State
from bgtasks.sweeps import cleaning
from tests.record.machine import Machine, hold
from tests.record.moves import set_row

STEPS = ("write_bytes", "attach", "notify")
TELLING = ("notify", TELL_EXPIRY)
MOST = 3  # workers at once
WORKERS = strategies.integers(0, MOST - 1)
RARELY = strategies.sampled_from([False, False, False, False, True])
CONTENTS = b"the file"
LEGAL = {
    State.PENDING: {State.RUNNING, State.CANCELLED},
    State.RUNNING: {State.READY, State.FAILED, State.CANCELLED},
    State.READY: {State.EXPIRED},
    State.FAILED: {State.PENDING},
    State.CANCELLED: set(),
    State.EXPIRED: set(),
}


class Killed(BaseException):
    """The process is no more."""


class Post:
    """A mail server that takes everything; who hands a mail over may not live to note it."""

    channel = "email"

    def __init__(self) -> None:
        self.kills = False
        self.taken: defaultdict[str, list[str]] = defaultdict(list)  #: Message-IDs, by what the mails tell

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        """Take a mail."""
        self.taken[message.subject].append(message_id)
        if self.kills:
            raise Killed


class Protocol(Machine):
    """The steps of one request."""

    steps = STEPS

    def __init__(self, parts: Deployment) -> None:
        super().__init__(parts)
        self.written: set[str] = set()
        self.post, self.killed_telling = Post(), Counter[str]()

    def _is_current(self, held: Held) -> bool:
        row = self._row()
        return (row.fence, row.leased_by) == (held.file_request.fence, held.owner)

    def _has_ended(self, held: Held) -> bool:
        row = self._row()
        return (row.fence, row.step) == (held.file_request.fence, held.step)

    @initialize(steps=strategies.integers(0, 2))
    def begin(self, steps: int) -> None:
        """Some of the steps are done already."""
        for _ in range(steps):
            self.deliver(0, in_doubt=False)
            self.the_row_is_sound()
            self.finish(0, in_doubt=False, dies=False)

    # -- workers ------------------------------------------------------------------------------

    @precondition(lambda self: len(self.working) < MOST)
    @rule(back=strategies.sampled_from([0, 0, 0, 1, 2, 3]), in_doubt=RARELY)
    def deliver(self, back: int, in_doubt: bool) -> None:
        """A message comes: the newest, or an older one that is late or comes again."""
        step, before, claim = self.messages[-1 - back % len(self.messages)]
        self.owners += 1
        owner, row = f"worker {self.owners}", self._row()
        try:
            held = self.requests.claim(claim, step, before, owner)
            if in_doubt:
                held = self.requests.claim(claim, step, before, owner)
        except ClaimLost:
            return
        assert (row.fence, row.leased_by) == (claim.fence, None)
        assert step in following(STEPS, row)
        assert held.file_request.fence == claim.fence + 1
        self.working.append(held)

    @precondition(lambda self: any(held.step == "write_bytes" for held in self.working))
    @rule(who=WORKERS, killed=strategies.booleans())
    def write(self, who: int, killed: bool) -> None:
        """An object becomes whole, however late; or its writer is killed before, and leaves what it has staged."""
        writers = [held for held in self.working if held.step == "write_bytes"]
        held = writers[who % len(writers)]
        if killed:
            self.working.remove(held)
            staged = Path(f"{self.parts.store.local_path(held.object_key)}#1")
            staged.parent.mkdir(exist_ok=True)
            staged.write_bytes(CONTENTS)
        else:
            self._write(held)

    def _write(self, held: Held) -> None:
        self.written.add(held.object_key)
        with self.parts.store.open_writer(held.object_key) as writer:
            writer.write(CONTENTS)
            writer.commit()

    @precondition(lambda self: self.working)
    @rule(who=WORKERS)
    def beat(self, who: int) -> None:
        """A heartbeat holds what is held, also after a lapse, and nothing else."""
        held = self.working[who % len(self.working)]
        expected = self._is_current(held)
        assert self.requests.renew(held) is expected

    @precondition(lambda self: self.working)
    @rule(who=WORKERS)
    def note(self, who: int) -> None:
        """Progress is written by the holder alone."""
        held = self.working[who % len(self.working)]
        expected = self._is_current(held)
        assert self._writes(lambda: self.requests.progress(held, rows_written=1)) is expected

    @precondition(lambda self: self.working)
    @rule(who=WORKERS, in_doubt=RARELY, dies=RARELY)
    def finish(self, who: int, in_doubt: bool, dies: bool) -> None:
        """A step ends. Its answer may be lost: it ends again, later. Or it dies before it publishes the next link."""
        held = self.working[who % len(self.working)]
        expected = self._is_current(held) or self._has_ended(held)
        if held.step == "write_bytes" and held.object_key not in self.written:
            self._write(held)
        assert self._writes(lambda: self._end(held)) is expected
        if in_doubt:
            return
        self.working.remove(held)
        if not expected:
            self.parts.unstage(held)
        elif not dies:
            self._publish(self._row())

    def _end(self, held: Held) -> FileRequest:
        if held.step == "attach":
            return self.requests.publish(held, {}, 60, waits=True)
        outcome = {"object_key": held.object_key} if held.step == "write_bytes" else {}
        return self.requests.finish(held, outcome, waits=held.step not in TELLING)

    @precondition(lambda self: any(held.step in TELLING for held in self.working))
    @rule(who=WORKERS, killed=RARELY)
    def tell(self, who: int, killed: bool) -> None:
        """The requester is told, however late or often; or the teller is killed once the mail server has the mail."""
        tellers = [held for held in self.working if held.step in TELLING]
        held = tellers[who % len(tellers)]
        event = "expiring" if held.step == TELL_EXPIRY else str(held.file_request.state)
        self.post.kills = killed
        try:
            if event == State.READY:
                self.requests.prolong(held, 60)
            message = Message(subject=event, text="", html=None, sender="")
            notifiers.tell(held.file_request, event, [self.post], ["ada@example.com"], lambda _: message)
        except ClaimLost:
            assert not self._is_current(held)
        except Killed:
            self.working.remove(held)
            self.killed_telling[event] += 1

    @precondition(lambda self: self.working)
    @rule(who=WORKERS, really=RARELY)
    def fail(self, who: int, really: bool) -> None:
        """The user's code raises: what has a file already does not fail."""
        if not really:
            return
        held = self.working.pop(who % len(self.working))
        expected = self._is_current(held) and held.file_request.state in LIVE
        assert self._writes(lambda: self.requests.fail(held, "internal_error", "No.", waits=True)) is expected
        if expected:
            self._publish(self._row())

    @precondition(lambda self: self.working)
    @rule(who=WORKERS)
    def hand_back(self, who: int) -> None:
        """A service is away."""
        held = self.working.pop(who % len(self.working))
        before, expected = self._row(), self._is_current(held)
        given = self.requests.hand_back(held, 60)
        assert (given is not None) is expected
        if given is not None:
            assert (given.fence, given.attempts) == (before.fence + 1, before.attempts)
            self._publish(given)
        self.parts.unstage(held)

    @precondition(lambda self: self.working)
    @rule(who=WORKERS)
    def die(self, who: int) -> None:
        """A worker is killed: it leaves its lease and its object."""
        self.working.pop(who % len(self.working))

    # -- time, sweeps and people ----------------------------------------------------------------

    @precondition(lambda self: self.seen.leased_by is not None)
    @rule(late=RARELY)
    def recover(self, late: bool) -> None:
        """No heartbeat came in time; the sweep has looked before or after one that comes late after all."""
        lapsed = set_row(self.parts, self.seen, leased_until=later(-1))
        revived = late and any(self.requests.renew(held) for held in self.working)
        taken = self.requests.recover(lapsed)
        assert (taken is None) is revived
        if taken is not None:
            assert taken.fence == lapsed.fence + 1
            if taken.dispatch_at is not None:
                self._publish(taken)

    @precondition(lambda self: self.seen.dispatch_at is not None)
    @rule()
    def dispatch(self) -> None:
        """The sweep publishes what has waited for too long."""
        before = self._row()
        due = self.requests.dispatch(set_row(self.parts, before, dispatch_at=later(-1)), 60)
        assert due is not None
        assert (due.fence, due.leased_by) == (before.fence, None)
        self._publish(due)

    @precondition(lambda self: self.seen.state == State.READY)
    @rule(removes=RARELY, names=RARELY)
    def expire(self, removes: bool, names: bool) -> None:
        """The file's time is over: a sweep withdraws it, and is mostly killed before it removes it, or its name."""
        before = self._row()
        at_rest = before.leased_by is None and before.dispatch_at is None
        expired = self.requests.expire([set_row(self.parts, before, expires_at=later(-1))], 0)
        assert (expired != []) is at_rest
        if not expired:
            set_row(self.parts, before, expires_at=later(60))
        elif removes or names:
            self.parts.store.delete(str(expired[0].object_key))
            assert not names or self.requests.drop_objects(expired) != []

    @rule()
    def list_objects(self) -> None:
        """A sweep reads the store, and looks at the rows later."""
        self.listed = self._objects()

    @rule()
    def judge(self) -> None:
        """It reads the rows, and removes later what none of them names."""
        self.judged = self.requests.orphans(self.listed)

    @rule()
    def remove(self) -> None:
        """It removes what it has found to be an orphan, whatever was written meanwhile."""
        for orphan in self.judged:
            self.parts.store.delete(orphan.text)

    @rule()
    def clean(self) -> None:
        """A whole sweep, which finishes what others have begun."""
        done = cleaning.clean(Pace())
        assert (done.faults, done.away) == (0, None)
        assert self._row().state in LIVE or self._row().state == State.READY or not self._names_an_object()

    def _names_an_object(self) -> bool:
        row = self._row()
        return row.object_key is not None and row.leased_by is None

    @rule(really=RARELY, waits=strategies.booleans())
    def cancel(self, really: bool, waits: bool) -> None:
        """Somebody gives it up; seldom, since little can come after it. It may be that its requester is to be told."""
        if really:
            expected = self._row().state in LIVE
            cancelled = self.requests.cancel(self.seen.id, waits=waits)
            assert (cancelled is not None) is expected
            if cancelled is not None:
                self._publish(cancelled)

    @precondition(lambda self: self.seen.state == State.READY)
    @rule()
    def remind(self) -> None:
        """The file expires soon, and nobody has downloaded it; two sweeps see it at once, and one of them wakes."""
        before = set_row(self.parts, self._row(), token_id="granted", notified_at=later())
        reminder, kinds = Reminder(3600, "notify"), [entry.kind for entry in self.requests.history(before.id)]
        at_rest = before.leased_by is None and before.dispatch_at is None
        expected = at_rest and before.step == "notify" and EventKind.EXPIRING not in kinds
        assert (before.id in [row.id for row in self.requests.unseen({"numbers": reminder}, 100)]) is expected
        waiting = self.requests.remind(before, reminder)
        assert (waiting is not None) is expected
        assert self.requests.remind(before, reminder) is None
        if waiting is not None:
            self._publish(waiting)

    # -- what always holds ----------------------------------------------------------------------

    @invariant()
    def the_row_is_sound(self) -> None:
        """Fence and state go forward, one worker at most can write, and a ready file is whole."""
        before, row = self.seen, self._row()
        assert row.fence >= before.fence
        assert row.state == before.state or row.state in LEGAL[State(before.state)]
        assert (row.leased_by is None) == (row.leased_until is None)
        assert row.leased_by is None or row.dispatch_at is None
        holders = [held for held in self.working if self._is_current(held)]
        assert len(holders) <= 1
        assert row.state != State.READY or row.object_key is not None
        in_use = {held.object_key for held in holders if held.object_key in self.written}
        if row.state in (*LIVE, State.READY) and row.object_key is not None:
            in_use.add(row.object_key)
        for key in in_use:
            assert self.parts.store.size(key) == len(CONTENTS)
        if row.state in LIVE and row.leased_by is None:
            assert row.dispatch_at is not None or row.fence == 0, "nobody would ever go on with it"
        self.seen = row

    def teardown(self) -> None:
        """Everybody dies, what they held is taken over, and a sweep leaves no object that no row names."""
        if self._row().leased_by is not None:
            self.requests.recover(set_row(self.parts, self._row(), leased_until=later(-1)))
        self.the_row_is_sound()
        self.clean()
        assert {key.text for key in self._objects()} <= {self._row().object_key}

    @invariant()
    def nobody_is_told_twice(self) -> None:
        """One mail for one recipient and event; a copy more only after a kill between its acceptance and its note."""
        for event, taken in self.post.taken.items():
            assert len(set(taken)) == 1
            assert len(taken) <= 1 + self.killed_telling[event]


def test_the_protocol_holds_in_any_order(parts: Deployment) -> None:
    """No order of deliveries, deaths, lapses, sweeps and cancels loses a file, doubles a writer or wakes the dead."""
    hold(lambda: Protocol(parts), examples=40 if parts.database.is_postgresql else 120, steps=30)
