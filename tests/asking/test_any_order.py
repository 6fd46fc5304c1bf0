"""Asking and ending in any order: which request answers, which is new, and which is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from bgtasks import toolbox
from bgtasks.database import later
from bgtasks.deployment import Deployment
from bgtasks.errors import TooManyActive
from bgtasks.models import FileRequest
from bgtasks.states import LIVE
from tests.asking.roads import ADA, BOB, FewAlike, failed, ready, register
from tests.record.moves import now, set_row

WHICH = strategies.integers(0, 20)
HOW = strategies.integers(0, 2)
MOST = FewAlike.max_active_per_requester or 0


@dataclass
class Known:
    """What the model knows of a row: who asked for what, and whether it answers for others."""

    row: FileRequest
    wish: tuple[str | None, int]
    key: str | None
    by_hand: bool
    answers: bool


class Asking(RuleBasedStateMachine):
    """A few requesters, wishes and keys, so that they meet often."""

    def __init__(self, parts: Deployment, engine: Engine, published: list[str]) -> None:
        super().__init__()
        self.parts, self.engine, self.published = parts, engine, published
        self.known: list[Known] = []
        published.clear()
        with parts.database.writing() as session:
            session.query(FileRequest).delete()

    def _live(self, requester: str | None) -> int:
        return sum(one.row.state in LIVE for one in self.known if one.wish[0] == requester)

    def _expected(self, wish: tuple[str | None, int], key: str | None, by_hand: bool) -> Known | type | None:
        """The row that answers, the refusal, or None: a new row."""
        keyed = (one for one in self.known if key and (one.wish[0], one.key) == (wish[0], key))
        alike = (one for one in self.known if one.answers and one.wish == wish and wish[0] and not by_hand)
        if answer := next(keyed, None) or next(alike, None):
            return answer
        is_full = wish[0] is not None and not by_hand and self._live(wish[0]) >= MOST
        return TooManyActive if is_full else None

    @rule(
        requester=strategies.sampled_from([ADA, ADA, BOB, None]),
        count=strategies.integers(0, 2),
        key=strategies.sampled_from([None, None, "1", "2"]),
        by_hand=strategies.sampled_from([False, False, False, True]),
        road=strategies.sampled_from(["own", "commit", "rollback"]),
    )
    def ask(self, requester: str | None, count: int, key: str | None, by_hand: bool, road: str) -> None:
        """A request in a transaction of its own or of the caller's, which may be rolled back."""
        wish = requester, count
        expected = self._expected(wish, key, by_hand)
        new: dict[str, Any] = {"requester": requester, "idempotency_key": key, "schedule": not by_hand}
        self.published.clear()
        with Session(self.engine) as session:
            try:
                row = toolbox.add_request(
                    {"count": count}, "few_alike", session=session if road != "own" else None, **new
                )
            except TooManyActive:
                assert expected is TooManyActive
                session.commit()
                return
            session.commit() if road != "rollback" else session.rollback()
        if isinstance(expected, Known):
            assert row.id == expected.row.id
            assert self.published == []
            return
        assert expected is None
        assert row.id not in {one.row.id for one in self.known}
        if road == "rollback":
            assert self.published == []
        else:
            assert self.published == ([] if by_hand else [row.id])
            self.known.append(Known(row, wish, key, by_hand, not by_hand and requester is not None))

    def _pick(self, which: int, *states: str) -> Known | None:
        found = [one for one in self.known if one.row.state in states and not one.by_hand]
        return found[which % len(found)] if found else None

    @precondition(lambda self: self.known)
    @rule(which=WHICH, what=strategies.sampled_from(["end", "expire", "revoke", "delete", "retry"]), how=HOW)
    def happen(self, which: int, what: str, how: int) -> None:
        """One of the other things; one rule for them all, so that every second step asks."""
        getattr(self, f"_{what}")(which, how)

    def _end(self, which: int, how: int) -> None:
        """A file is made, or not."""
        if one := self._pick(which, "pending"):
            (ready, failed, lambda _, row: toolbox.cancel(row))[how](self.parts, one.row)
            one.row = now(self.parts, one.row)
            one.answers &= one.row.state == "ready"

    def _expire(self, which: int, how: int) -> None:
        """A file's time is over; the sweep has been there, or not yet."""
        if one := self._pick(which, "ready"):
            one.row, one.answers = set_row(self.parts, one.row, expires_at=later(-1)), False
            if how:
                assert self.parts.requests.expire([one.row], 0) != []
                one.row = now(self.parts, one.row)

    def _revoke(self, which: int, how: int) -> None:
        """Its link is withdrawn."""
        if (one := self._pick(which, "ready")) and toolbox.revoke(one.row):
            one.answers = False

    def _delete(self, which: int, how: int) -> None:
        """The row goes, and its keys with it."""
        if (one := self._pick(which, "failed", "cancelled", "expired", "ready")) and toolbox.delete(one.row):
            self.known.remove(one)

    def _retry(self, which: int, how: int) -> None:
        """A failed one starts again, and answers for nothing but its own key."""
        if one := self._pick(which, "failed"):
            assert toolbox.retry(one.row)
            one.row = now(self.parts, one.row)

    @invariant()
    def the_table_is_as_known(self) -> None:
        """No row too many, none lost; and what has a key is what answers, but for a time that is just over."""
        with self.parts.database.reading() as session:
            rows = {row.id: row for row in session.scalars(select(FileRequest))}
        assert rows.keys() == {one.row.id for one in self.known}
        for one in self.known:
            row = rows[one.row.id]
            assert row.coalesce_key or not one.answers
            assert one.answers or row.coalesce_key is None or row.has_expired


def test_asking_holds_in_any_order(parts: Deployment, engine: Engine, published: list[str]) -> None:
    """Whatever has ended, expired or gone before: one answer, and the right one."""
    register()
    run_state_machine_as_test(
        lambda: Asking(parts, engine, published),
        settings=settings(
            max_examples=80 if engine.dialect.name == "sqlite" else 30,
            stateful_step_count=30,
            deadline=None,
            phases=[Phase.generate],
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
