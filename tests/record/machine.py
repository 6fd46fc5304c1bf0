"""What the state machines of the record share: one request, and messages that may come at any time, and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from bgtasks.canvas import before, following
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost
from bgtasks.models import FileRequest
from bgtasks.object_keys import ObjectKey
from bgtasks.states import State
from tests.record.moves import ask, now


class Machine(RuleBasedStateMachine):
    """One request, a few workers, and messages that are kept for ever, so that any of them may come again."""

    steps: tuple[str, ...]  #: of the request's file type

    def __init__(self, parts: Deployment) -> None:
        super().__init__()
        self.parts, self.requests = parts, parts.requests
        self.seen = ask()
        self.messages: list[Any] = []  #: a step, the one before it and the claim; or what the machine adds
        self.working: list[Any] = []  #: what was granted, and is not known to be over
        self.owners = 0
        self.listed: list[ObjectKey] = []
        self.judged: list[ObjectKey] = []
        self._publish(self.seen)

    def _publish(self, row: FileRequest) -> None:
        for step in following(self.steps, row)[:1]:
            self.messages.append((step, str(before(self.steps, step)), Claim.of(row)))

    def _row(self) -> FileRequest:
        return now(self.parts, self.seen)

    def _objects(self) -> list[ObjectKey]:
        found = map(ObjectKey.parse, self.parts.store.keys())
        return [key for key in found if key is not None and key.request_id == self.seen.id]

    @staticmethod
    def _writes(call: Callable[[], object]) -> bool:
        try:
            call()
        except ClaimLost:
            return False
        return True

    @precondition(lambda self: self.seen.state == State.FAILED)
    @rule()
    def retry(self) -> None:
        """Its requester starts a failed one again."""
        again = self.requests.retry(self.seen.id, scheduled=True)
        if again is not None:
            self._publish(again)


def hold(machine: Callable[[], Machine], *, examples: int, steps: int) -> None:
    """Run it: the same examples each time."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.generate],  # shrinking a failure takes longer than a test may
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
