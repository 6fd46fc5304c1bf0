"""What runs, as operators see it: each log record about it says so, it has a span, and its time is taken."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bgtasks import logs, tallies, traces
from bgtasks.claims import Claim, PartClaim
from bgtasks.errors import RequestFailed
from bgtasks.models import FileRequest

#: The route of a download: the path has the token.
ROUTE = "/files/<token>"


@contextmanager
def step(claim: Claim, name: str) -> Iterator[None]:
    """A step, from its claim on. What is lost or handed back is no step that has ended."""
    about = _about(f"bgtasks.{name}", "CONSUMER", claim, name, claim.fence + 1, goes_on=claim.request_id)
    with _timed(claim.file_type, name), about:
        yield


@contextmanager
def part(claim: PartClaim, name: str) -> Iterator[None]:
    """The same of one of a file's parts: its number is told from 1, as the history does, and the request's fence."""
    known = {**_known(claim.request, name, claim.request.fence), "part": claim.number + 1}
    with (
        _timed(claim.request.file_type, name),
        logs.about(**known),
        traces.span(f"bgtasks.{name}", "CONSUMER", _attributes(known), claim.request_id),
    ):
        yield


@contextmanager
def _timed(file_type: str, name: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    except RequestFailed:
        tallies.step(file_type, name, time.perf_counter() - began)
        raise
    tallies.step(file_type, name, time.perf_counter() - began)


@contextmanager
def asking(request_id: str | None) -> Iterator[None]:
    """A message that asks for a file; what it asks for is not known to be anything yet."""
    known = {"request_id": request_id or "", "step": "request_file"}
    with logs.about(**known), traces.span(traces.REQUEST_FILE, "CONSUMER", _attributes(known), known["request_id"]):
        yield


@contextmanager
def downloading(file_request: FileRequest) -> Iterator[None]:
    """The answer to somebody who may have a finished file, up to its first byte."""
    claim = Claim.of(file_request)
    with _about("bgtasks.download", "INTERNAL", claim, "download", claim.fence, {"http.route": ROUTE}):
        yield


@contextmanager
def _about(
    span: str, kind: str, claim: Claim, step: str, fence: int, more: Mapping[str, str] | None = None, goes_on: str = ""
) -> Iterator[None]:
    known = _known(claim, step, fence)
    with logs.about(**known), traces.span(span, kind, {**_attributes(known), **(more or {})}, goes_on):
        yield


def _known(claim: Claim, step: str, fence: int) -> dict[str, Any]:
    return {"request_id": claim.request_id, "file_type": claim.file_type, "step": step, "fence": fence}


def _attributes(known: Mapping[str, Any]) -> dict[str, Any]:
    return {f"bgtasks.{name}": value for name, value in known.items()}
