"""One run: chaos for a while, then a bound within which everything comes to rest, and a look at what came out."""

from __future__ import annotations

import functools
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bgtasks.pacing import Pace
from bgtasks.stack import Stack
from bgtasks.sweeps import cleaning
from tests.chaos import faults, scene
from tests.chaos.faults import Fault
from tests.chaos.invariants import Breach, breaches
from tests.chaos.outcome import Outcome, found
from tests.chaos.producers import Producers
from tests.chaos.scene import Scene
from tests.chaos.wishes import Wish, wishes
from tests.support import brokers
from tests.support.brokers import Broker

#: Seconds between two looks at whether everything is at rest.
LOOK = 0.5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What is to happen: all of it follows from these numbers."""

    seed: int
    requests: int
    faults: int  #: some of them find nothing to hit
    seconds: float  #: in which requests come and faults happen
    rest: float  #: seconds after that, within which everything must come to rest

    def drawn(self) -> tuple[list[Wish], list[tuple[float, Fault, random.Random]]]:
        """The requests; and the faults, each with its time and with dice of its own."""
        dice = random.Random(self.seed)
        asked = wishes(dice, self.requests, self.seconds)
        kinds = faults.drawn(dice, self.faults)
        return asked, [(self.seconds * dice.random(), kind, random.Random(dice.random())) for kind in kinds]


@dataclass(frozen=True)
class Done:
    """A run that is over."""

    plan: Plan
    injected: Counter[str]  #: faults that have hit something, by kind
    outcome: Outcome
    breaches: list[Breach]
    asked_again: int  #: times that a producer saw no row, since its message had been lost
    refused: int  #: mails that were to be tried again
    removed: cleaning.Cleaned  #: what the last sweep found to remove
    seconds: float  #: of the chaos, with what it held up
    rest: float  #: seconds until everything was at rest


def run(plan: Plan, folder: Path, database_url: str, start_broker: Callable[[Stack], Broker] = brokers.valkey) -> Done:
    """Let the chaos come over a deployment of its own, and see what becomes of it.

    :param folder: a new one.
    :param database_url: an empty database with our tables.
    """
    with scene.running(folder, database_url, start_broker) as deployed:
        asked, planned = plan.drawn()
        producers = Producers(deployed, asked, plan.seconds + plan.rest)
        injected = Counter[str]()
        for at, fault, dice in planned:
            deployed.timeline.at(at, functools.partial(_inject, deployed, fault, dice, injected))
        with ThreadPoolExecutor(1) as thread:
            asking = thread.submit(producers.run)
            deployed.timeline.run()
            chaos = deployed.timeline.now
            asking.result()
        rest = _until_at_rest(deployed, plan.rest)
        removed = cleaning.clean(Pace())
        outcome = found(deployed, asked, producers)
        for one in outcome.ended:
            logger.info("%s\n%s", one.title, "\n".join(one.tale))
        return Done(
            plan, injected, outcome, breaches(outcome), producers.asked_again, deployed.post.refused,
            removed, chaos, rest,
        )  # fmt: skip


def _inject(deployed: Scene, fault: Fault, dice: random.Random, injected: Counter[str]) -> None:
    deployed.watch()
    injected[fault.name] += faults.attempt(deployed, fault.name, functools.partial(fault.deed, deployed, dice))


def _until_at_rest(deployed: Scene, bound: float) -> float:
    """How long it took, in seconds. After the bound it is for the rules to tell what is wrong."""
    began = time.monotonic()
    while not _is_at_rest(deployed) and time.monotonic() - began < bound:
        time.sleep(LOOK)
    return time.monotonic() - began


def _is_at_rest(deployed: Scene) -> bool:
    """Nothing waits, and nobody is at work: not even on what has ended meanwhile, as who comes back late is."""
    deployed.watch()
    return not deployed.outstanding() and deployed.steps_at_work() == []
