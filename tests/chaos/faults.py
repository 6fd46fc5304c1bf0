"""What happens to a deployment: each fault is a function that hits something, or finds nothing to hit."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from bgtasks import queues
from tests.chaos import celeryconfig
from tests.chaos.exports import TYPES
from tests.chaos.scene import Scene
from tests.chaos.wishes import deck

#: Whether it has hit something. What it shall hit is for the dice to say.
Deed = Callable[[Scene, Random], bool]

logger = logging.getLogger(__name__)


def kill_child(scene: Scene, dice: Random) -> bool:
    """kill -9, as the kernel does where memory runs out."""
    child = scene.some_child(dice)
    return child is not None and _signal(child, signal.SIGKILL)


def kill_worker(scene: Scene, dice: Random) -> bool:
    """A machine is switched off, and on again."""
    worker = scene.some_worker(dice)
    if worker is not None:
        scene.bring_down(worker, worker.kill, 3 * dice.random())
    return worker is not None


def stop_worker(scene: Scene, dice: Random) -> bool:
    """A new version is rolled out."""
    worker = scene.some_worker(dice)
    if worker is not None:
        scene.bring_down(worker, lambda: worker.send(signal.SIGTERM), dice.random())
    return worker is not None


def pause_child(scene: Scene, dice: Random) -> bool:
    """It gives no sign of life for longer than its lease, is thought dead, and comes back."""
    child = scene.some_child(dice)
    if child is None:
        return False
    process = os.pidfd_open(child)  # the number may be another process's by then

    def resume() -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGCONT)
        os.close(process)

    scene.timeline.after(_longer_than_a_lease(dice), resume)
    return _signal(child, signal.SIGSTOP)


def pause_worker(scene: Scene, dice: Random) -> bool:
    """The same for all of a worker, as when its machine is moved."""
    worker = scene.some_worker(dice)
    if worker is None:
        return False
    group = worker.pid
    scene.timeline.after(_longer_than_a_lease(dice), lambda: _signal_group(group, signal.SIGCONT))
    return _signal_group(group, signal.SIGSTOP)


def empty_broker(scene: Scene, dice: Random) -> bool:
    """The broker is killed and comes back with nothing: no messages, and no results."""
    if is_up := scene.broker_is_up:
        scene.empty_broker(3 * dice.random())
    return is_up


def pause_broker(scene: Scene, dice: Random) -> bool:
    """It answers nobody for a while, and forgets nothing."""
    group = scene.broker.process.pid
    scene.timeline.after(5 * dice.random(), lambda: _signal_group(group, signal.SIGCONT))
    return scene.broker_is_up and _signal_group(group, signal.SIGSTOP)


def double_messages(scene: Scene, dice: Random) -> bool:
    """Of what waits or is being done, some is published once more."""
    chosen = scene.some_requests(dice)
    return bool(chosen) and all(scene.message(row)() for row in chosen)


def delay_messages(scene: Scene, dice: Random) -> bool:
    """Messages come when their requests are somewhere else: their fences are old ones."""
    chosen = scene.some_requests(dice)
    for row in chosen:
        scene.timeline.after(10 * dice.random(), functools.partial(attempt, scene, "late", scene.message(row)))
    return bool(chosen)


def lose_message(scene: Scene, dice: Random) -> bool:
    """What waits in a queue is taken from there, and nobody has it."""
    names = [*(queues.queue_of(each.file_type) for each in TYPES), queues.QUEUE]
    dice.shuffle(names)
    with scene.app.connection_for_read() as connection:
        return any(connection.channel().basic_get(name, no_ack=True) is not None for name in names)


def refuse_mails(scene: Scene, dice: Random) -> bool:
    """The mail server asks everybody to try again later."""

    def accept() -> None:
        scene.post.refusing -= 1

    scene.post.refusing += 1
    scene.timeline.after(8 * dice.random(), accept)
    return True


@dataclass(frozen=True)
class Fault:
    """One kind of them."""

    name: str
    share: int  #: so many of them, among a hundred
    deed: Deed


FAULTS = (
    Fault("kill -9 of a child", 26, kill_child),
    Fault("kill -9 of a worker", 9, kill_worker),
    Fault("SIGTERM to a worker", 9, stop_worker),
    Fault("a child stands still", 8, pause_child),
    Fault("a worker stands still", 3, pause_worker),
    Fault("the broker restarts empty", 5, empty_broker),
    Fault("the broker stands still", 3, pause_broker),
    Fault("messages are doubled", 16, double_messages),
    Fault("messages are late", 10, delay_messages),
    Fault("a message is lost", 8, lose_message),
    Fault("mails are refused", 6, refuse_mails),
)


def drawn(dice: Random, count: int) -> list[Fault]:
    """So many faults, each kind at least once."""
    return deck(dice, {fault: fault.share for fault in FAULTS}, count)


def attempt(scene: Scene, name: str, deed: Callable[[], bool]) -> bool:
    """Whether it was done; it may meet a service that is away, or find nothing to hit."""
    try:
        done = deed()
    except (*scene.away, ProcessLookupError) as error:
        logger.info("%s: %s", name, type(error).__name__)
        return False
    logger.info("%s: %s", name, "done" if done else "there is nothing to hit")
    return done


def _longer_than_a_lease(dice: Random) -> float:
    return celeryconfig.bgtasks_lease * (1.2 + dice.random())


def _signal(pid: int, number: signal.Signals) -> bool:
    os.kill(pid, number)
    return True


def _signal_group(group: int, number: signal.Signals) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
        return True
    return False
