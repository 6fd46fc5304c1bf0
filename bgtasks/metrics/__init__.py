"""Prometheus metrics, off by default: what is counted in this process, or in a worker's children; and what the table
says. prometheus_client is imported where they are on.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from celery.signals import worker_ready

from bgtasks import deployment, registry, tallies
from bgtasks.deployment import Deployment
from bgtasks.errors import UnknownFileType
from bgtasks.extras import needs
from bgtasks.settings import Settings
from bgtasks.tallies import OTHER, Count

if TYPE_CHECKING:
    from bgtasks.metrics.numbers import Numbers

#: The metrics that are not of a file type.
_OF_NO_TYPE = ("notifications",)


@functools.cache
def ours() -> Numbers:
    """The numbers of this process. Raises: ImproperlyConfigured, where prometheus_client is not installed."""
    made: Numbers = needs("metrics", "bgtasks.metrics.numbers").Numbers()
    return made


class _Here:
    is_worker = False  #: whether this is a worker, or a child of one: it has no page to show


def begin(parts: Deployment) -> None:
    """Count in this process what its own ``/metrics`` shows, if that is on. Raises: ImproperlyConfigured."""
    if parts.settings.metrics and not _Here.is_worker and not tallies.is_on():
        tallies.begin(_named(ours().add))


def begin_in_worker(configured: Settings) -> None:
    """Count in a worker's main process, before it forks, and show it at a port. Raises: ImproperlyConfigured."""
    _Here.is_worker = True
    if configured.metrics_port is None:
        return
    worker = needs("metrics", "bgtasks.metrics.workers").Worker(ours())
    tallies.begin(_named(worker.add))
    ours().expect(registry.names())
    address = configured.metrics_host, configured.metrics_port
    # Not now: what is forked should not find threads.
    worker_ready.connect(lambda **_: worker.start(*address), weak=False)


def answer(accept: str) -> tuple[bytes, str]:
    """What a web process shows, and its content type.

    :param accept: what the client takes: Prometheus' text format, or OpenMetrics.
    """
    ours().expect(registry.names())
    page: tuple[bytes, str] = needs("metrics", "bgtasks.metrics.page").answer(ours(), accept)
    return page


def _named(count: Count) -> Count:
    """Counts under the names of registered types alone: what else a message names is its sender's choice."""

    def add(name: str, labels: tuple[str, ...], value: float) -> None:
        named = labels if name in _OF_NO_TYPE else (_type(labels[0]), *labels[1:])
        count(name, named, value)

    return add


def _type(file_type: Any) -> str:
    try:
        registry.get(file_type)
    except UnknownFileType:
        return OTHER
    return str(file_type)


deployment.when_made(begin)
