"""OpenTelemetry's spans over a request, where this process has a tracer provider. Otherwise nothing is imported.

The trace context (W3C ``traceparent``) travels in the headers of our messages: ids, and nothing else. A span's
attributes say what logs say: request, file type, step, fence; an error is its code and its type, never its text, which
may hold criteria.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from celery import current_task
from celery.exceptions import TaskPredicate
from celery.signals import before_task_publish

from bgtasks.errors import BgtasksError, ClaimLost, Interrupted

#: The messages that belong to a request; the sweeps' belong to none.
REQUEST_FILE = "bgtasks.request_file"
#: W3C Trace Context. (Baggage, which an application may fill with anything, is left behind.)
HEADERS = ("traceparent", "tracestate")
#: What ends a step, and is no error.
NO_FAULTS = (ClaimLost, Interrupted, TaskPredicate)

#: By what the next message of a request goes on, once this process is done with its step: its id, and the context.
_left: ContextVar[tuple[str, Any] | None] = ContextVar("bgtasks_trace", default=None)


@contextmanager
def span(name: str, kind: str, attributes: Mapping[str, Any], goes_on: str = "") -> Iterator[None]:
    """A span around this block, if anybody traces.

    It is a child of the current one, or else of the one in the message that is being worked on.

    :param kind: of OpenTelemetry's ``SpanKind``.
    :param goes_on: the id of the request whose messages, in this block and after it, carry the trace on.
    """
    api = _api()
    if api is None:
        yield
        return
    parent = _parent(api, goes_on)
    options = {
        "context": parent,
        "kind": api.SpanKind[kind],
        "attributes": attributes,
        "record_exception": False,
        "set_status_on_exception": False,
    }
    with api.get_tracer("bgtasks").start_as_current_span(name, **options) as opened:
        if goes_on:
            # The steps stand beside each other, below what has asked for them.
            _left.set((goes_on, parent if _is_valid(api, parent) else api.set_span_in_context(opened)))
        try:
            yield
        except BaseException as error:
            _note(api, opened, error)
            raise


def _api() -> Any:
    """OpenTelemetry's tracing, if this process has configured it; None: nobody traces."""
    api = sys.modules.get("opentelemetry.trace")
    provider = getattr(api, "get_tracer_provider", None)
    if api is None or provider is None or isinstance(provider(), api.ProxyTracerProvider):
        return None
    return api


def _parent(api: Any, request_id: str) -> Any:
    """The context in which a span begins."""
    now = importlib.import_module("opentelemetry.context").get_current()
    if _is_valid(api, now):
        return now
    message = getattr(current_task, "request", None)
    carried = {name: value for name in HEADERS if isinstance(value := getattr(message, name, None), str)}
    if carried:
        return _propagator().extract(carried, context=now)
    return _left_for(request_id) or now


def _left_for(request_id: Any) -> Any:
    left = _left.get()
    return left[1] if left is not None and left[0] == request_id else None


def _is_valid(api: Any, context: Any) -> bool:
    return bool(api.get_current_span(context).get_span_context().is_valid)


def _propagator() -> Any:
    return importlib.import_module("opentelemetry.trace.propagation.tracecontext").TraceContextTextMapPropagator()


def _note(api: Any, opened: Any, error: BaseException) -> None:
    if isinstance(error, NO_FAULTS):
        opened.set_attribute("bgtasks.outcome", type(error).__name__)
        return
    status = getattr(error, "code", None)
    is_refusal = isinstance(status, int) and status < HTTPStatus.INTERNAL_SERVER_ERROR
    code = str(getattr(error, "error_code", None) or BgtasksError.error_code)
    opened.set_attribute("error.type", type(error).__name__ if is_refusal else code)
    # What the chain raises in the place of a fault of the user's own code has that as its context.
    cause = type(error.__context__ or error)
    opened.set_attribute("exception.type", f"{cause.__module__}.{cause.__qualname__}")
    if not is_refusal:  # what a visitor can't have is no fault of ours
        opened.set_status(api.StatusCode.ERROR, code)


@before_task_publish.connect(weak=False)
def _carry(sender: Any, headers: Any, body: Any, **_: Any) -> None:
    """Give a message of a request the trace to go on with, unless somebody else has (instrumentation of Celery's)."""
    api = _api()
    if api is None or not isinstance(headers, dict) or HEADERS[0] in headers:
        return
    request_id = _request_of(body)
    if request_id is None and sender != REQUEST_FILE:
        return
    now = importlib.import_module("opentelemetry.context").get_current()
    _propagator().inject(headers, now if _is_valid(api, now) else _left_for(request_id))


def _request_of(body: Any) -> str | None:
    """The id in the claim that a step's message hands on."""
    args = body[0] if isinstance(body, tuple | list) and body else ()
    claim = args[0] if args else None
    found = claim.get("request_id") if isinstance(claim, dict) else getattr(claim, "request_id", None)
    return found if isinstance(found, str) else None
