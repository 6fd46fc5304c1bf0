"""The reference deployment with file types of these tests, whose spans go into a file, as an application sets it up."""

from __future__ import annotations

import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

import celeryconfig as reference

globals().update({name: value for name, value in vars(reference).items() if not name.startswith("_")})

imports = (*reference.imports, "tests.watching.file_types")
beat_schedule: dict[str, object] = {}

#: Where the spans go; only in the processes of the test's stack.
SPANS = "TEST_SPANS"


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"


if SPANS in os.environ:
    _provider = TracerProvider()
    _file = Path(os.environ[SPANS]).open("a")  # noqa: SIM115 - for as long as the process lives
    _provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=_file, formatter=_line)))
    trace.set_tracer_provider(_provider)
