"""Rounds in which each way has its turn, in a fresh process each time: what slows the machine slows all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.bench.peers import Peer, PeerMissing
from tests.bench.races import Race, Sample
from tests.bench.servers import ROOT

PATIENCE = 600  # seconds for one turn


@dataclass(frozen=True)
class Way:
    """One way to write a file."""

    name: str
    module: str  #: which knows it
    key: str  #: by this name
    peer: Peer | None = None  #: whose interpreter it is; none: ours
    turns: int = 100  #: in so many rounds at most; of what is very slow, one has to do

    def go(self, rows: int, env: Mapping[str, str]) -> Sample:
        """Measure it once. Raises: PeerMissing, WayFailed."""
        python = self.peer.python if self.peer else sys.executable
        return Sample(**json.loads(run([python, "-m", self.module, self.key, str(rows)], env)))


class WayFailed(Exception):
    """It ended with an error."""


def run(argv: list[str], env: Mapping[str, str]) -> str:
    """The last line that a process of the benchmark has printed. Raises: WayFailed."""
    ended = subprocess.run(
        argv, env={**os.environ, "PYTHONPATH": str(ROOT), **env}, cwd=ROOT, capture_output=True, timeout=PATIENCE,
        text=True, check=False,
    )  # fmt: skip
    if ended.returncode:
        print(ended.stderr[-3000:], file=sys.stderr)
        said = [line for line in ended.stderr.splitlines() if line and not line.startswith((" ", "("))]
        raise WayFailed(said[-1] if said else f"it ended with code {ended.returncode}")
    return ended.stdout.splitlines()[-1]


def race(made: Race, ways: Iterable[Way], rounds: int, env: Mapping[str, str]) -> Race:
    """Let each way have its turn in each round; what can't be installed is left out."""
    assert made.rows is not None
    for number in range(rounds):
        for way in ways:
            if number < way.turns and way.name not in made.missing:
                try:
                    made.add(way.name, way.go(made.rows, env))
                except PeerMissing as error:
                    made.missing[way.name] = str(error)
                except WayFailed as error:
                    made.missing[way.name] = str(error)
                    made.failed = True
    return made
