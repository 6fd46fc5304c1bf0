"""The numbers that processes count."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from bgtasks.tallies import INTO

PREFIX = "bgtasks_"
#: Seconds: a step of a small file takes some milliseconds, and a large export minutes.
BUCKETS = (0.005, 0.01, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)

COUNTERS = {
    "requests": ("Requests that have come into a state", ("file_type", "state")),
    "failures": ("Requests that have failed, by their error's code", ("file_type", "code")),
    "bytes_written": ("Bytes of files that are ready", ("file_type",)),
    "rows_written": ("Rows of files that are ready", ("file_type",)),
    "lease_recoveries": ("Steps that were taken over from dead workers", ("file_type",)),
    "hand_backs": (
        "Steps handed back: a service is away, or the worker is stopped",
        ("file_type", "reason"),
    ),
    "redispatches": ("Messages that were published again", ("file_type",)),
    "downloads": ("Downloads whose last byte was handed over, of a whole file or of a range", ("file_type", "part")),
    "notifications": ("Attempts to tell somebody", ("channel", "outcome")),
    "lost_counts": ("What children could not tell their worker's main process", ()),
}
STEP_SECONDS = "step_seconds"
#: What operators wait for. A number that appears with the first failure does not grow by it, and so alarms nobody.
CODES = ("internal_error", "never_started", "time_limit", "worker_lost")


class Numbers:
    """Counters and histograms by name, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._metrics: dict[str, Any] = {
            name: Counter(PREFIX + name, said, labels, registry=self._registry)
            for name, (said, labels) in COUNTERS.items()
        }
        self._metrics[STEP_SECONDS] = Histogram(
            PREFIX + STEP_SECONDS, "How long steps take that end, well or badly", ("file_type", "step"),
            buckets=BUCKETS, registry=self._registry,
        )  # fmt: skip

    def add(self, name: str, labels: tuple[str, ...], value: float) -> None:
        """Add to a counter, or an observation to a histogram."""
        metric = self._metrics[name]
        one = metric.labels(*labels) if labels else metric
        one.observe(value) if name == STEP_SECONDS else one.inc(value)

    def expect(self, file_types: Iterable[str]) -> None:
        """Begin with zero for these types."""
        for name in file_types:
            for metric, (_, labels) in COUNTERS.items():
                if labels == ("file_type",):
                    self._metrics[metric].labels(name)
            for state in dict.fromkeys(INTO.values()):
                self._metrics["requests"].labels(name, state)
            for code in CODES:
                self._metrics["failures"].labels(name, code)

    def collect(self) -> Iterable[Metric]:
        """What was counted here."""
        return self._registry.collect()

    def collect_shared(self) -> Iterable[Metric]:
        """The same, and that of the other processes that share ``PROMETHEUS_MULTIPROC_DIR``, if it is set."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self.collect()
        # The application's own metrics are in the same folder, and none of our page's business.
        kind: Any = MultiProcessCollector
        return (metric for metric in kind(CollectorRegistry()).collect() if metric.name.startswith(PREFIX))
