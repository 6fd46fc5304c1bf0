"""What an operator sees of the test's deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import Client

from bgtasks import metrics, tallies, traces
from bgtasks.deployment import Deployment
from bgtasks.metrics import table
from bgtasks.wsgi import application

#: A value by the name of its sample and its labels.
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    """What Prometheus reads in a page; it refuses one that is not valid."""
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def sample(samples: Samples, name: str, **labels: str) -> float:
    """One of them; 0 where it is not there, as for Prometheus' ``or vector(0)``."""
    return samples.get((f"bgtasks_{name}", frozenset(labels.items())), 0.0)


@pytest.fixture
def conf() -> dict[str, Any]:
    """With metrics."""
    return {"bgtasks_metrics": True}


@pytest.fixture(autouse=True)
def _from_zero(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Numbers of this test's own; and the table is asked at each look."""
    monkeypatch.setattr(table, "FRESH", 0.0)
    metrics.ours.cache_clear()
    monkeypatch.setattr(metrics._Here, "is_worker", False)
    yield
    tallies.end()
    metrics.ours.cache_clear()


@pytest.fixture
def look(parts: Deployment) -> Callable[[], Samples]:
    """Scrapes ``/metrics``."""

    def scrape() -> Samples:
        response = Client(application).get("/metrics")
        assert response.status_code == 200, response.text
        assert response.content_type.startswith("text/plain; version=")
        return parsed(response.text)

    return scrape


@pytest.fixture(scope="module")
def _provider() -> Iterator[InMemorySpanExporter]:
    """A tracer provider as an application sets it: once in a process."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE._done
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE._done = provider, True
    yield exporter
    provider.shutdown()
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE._done = before


@pytest.fixture
def exported(_provider: InMemorySpanExporter) -> InMemorySpanExporter:
    """The spans of this test."""
    _provider.clear()
    traces._left.set(None)
    return _provider
