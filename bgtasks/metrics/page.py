"""What ``/metrics`` of the files application answers."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakKeyDictionary

from celery import Celery
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from bgtasks import deployment
from bgtasks.deployment import Deployment
from bgtasks.metrics.numbers import Numbers
from bgtasks.metrics.table import Table


class _Everything:
    """The numbers of the processes, and those of the table."""

    def __init__(self, numbers: Numbers, table: Table) -> None:
        self._numbers, self._table = numbers, table

    def collect(self) -> Iterator[Metric]:
        yield from self._numbers.collect_shared()
        yield from self._table.collect()


def answer(numbers: Numbers, accept: str) -> tuple[bytes, str]:
    """The page, and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(_Everything(numbers, _table(deployment.current()))), content_type


_tables: WeakKeyDictionary[Celery, Table] = WeakKeyDictionary()


def _table(parts: Deployment) -> Table:
    return _tables.setdefault(parts.app, Table(parts))
