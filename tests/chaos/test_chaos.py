"""A short run of ``make chaos`` in every run of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgtasks.states import EventKind, State
from tests.chaos import report
from tests.chaos.faults import FAULTS
from tests.chaos.run import Plan, run
from tests.conftest import new_sqlite

SHORT = Plan(seed=122, requests=30, faults=24, seconds=15, rest=90)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # by Celery's Redis backend
def test_nothing_is_lost(tmp_path: Path) -> None:
    """Whatever dies in between, each request ends once, with its one right file or a reason, and is told once."""
    done = run(SHORT, tmp_path / "deployment", new_sqlite(tmp_path))
    print("\n".join(report.lines(done)))
    assert not done.breaches
    assert sum(done.injected.values()) >= len(FAULTS)
    assert any(one.times(EventKind.PART) and one.row.state == State.READY for one in done.outcome.ended)


def test_the_seed_decides() -> None:
    """The same requests are made, and the same faults at the same times, each with the same dice."""
    requests, faults = SHORT.drawn()
    again, as_well = SHORT.drawn()
    assert requests == again
    assert [(at, fault, dice.random()) for at, fault, dice in faults] == [
        (at, fault, dice.random()) for at, fault, dice in as_well
    ]
    assert {fault for _, fault, _ in faults} == set(FAULTS)
