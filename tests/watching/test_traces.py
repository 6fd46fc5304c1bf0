"""Spans over a request, in this process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from werkzeug.test import Client

from bgtasks import registry, request_file, toolbox, traces
from bgtasks.canvas import STEPS
from bgtasks.claims import Claim, PartClaim
from bgtasks.deployment import Deployment
from bgtasks.errors import RequestFailed
from bgtasks.wsgi import application
from tests.support.divided import fill
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER, finished

MARKER = "m4rk3r"

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Failing(Numbers):
    """A fault whose text nobody should see."""

    file_type = "failing"
    notifiers = ()

    def get_items(self, criteria: Any) -> Any:
        raise LookupError(MARKER)


@pytest.fixture
def quiet(parts: Deployment) -> None:
    """A type that tells nobody."""
    registry.register(type("Quiet", (Numbers,), {"file_type": "quiet", "notifiers": ()}))


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """Those that have ended, by name."""
    return {span.name: span for span in exporter.get_finished_spans()}


def said(exporter: InMemorySpanExporter) -> str:
    """All that leaves this process."""
    return "".join(span.to_json() for span in exporter.get_finished_spans())


@pytest.mark.usefixtures("quiet")
def test_the_steps_are_in_one_trace(parts: Deployment, exported: InMemorySpanExporter) -> None:
    """Beside each other, each with what it is about."""
    asked = toolbox.add_request({"count": 2}, "quiet", REQUESTER, schedule=True)
    registry.dispatch(asked.id)
    found = spans(exported)
    assert list(found) == [f"bgtasks.{step}" for step in STEPS]
    assert len({span.context.trace_id for span in found.values()}) == 1
    assert dict(found["bgtasks.write_bytes"].attributes or {}) == {
        "bgtasks.request_id": asked.id,
        "bgtasks.file_type": "quiet",
        "bgtasks.step": "write_bytes",
        "bgtasks.fence": 3,
    }


def test_parts_are_in_the_same_trace(parts: Deployment, exported: InMemorySpanExporter) -> None:
    """Beside the steps, each with its number; their messages carry the trace on as the steps' do."""
    fill(parts, 30)
    asked = toolbox.add_request({}, "logins", REQUESTER, schedule=True)
    registry.dispatch(asked.id)
    found = exported.get_finished_spans()
    assert [span.name for span in found if span.name.startswith("bgtasks.write")] == [
        "bgtasks.write_bytes", *["bgtasks.write_part"] * 3,
    ]  # fmt: skip
    assert len({span.context.trace_id for span in found}) == 1
    written = [dict(span.attributes or {}) for span in found if span.name == "bgtasks.write_part"]
    assert [attributes.pop("bgtasks.part") for attributes in written] == [1, 2, 3]
    about = {"bgtasks.request_id": asked.id, "bgtasks.file_type": "logins"}
    assert written == [{**about, "bgtasks.step": "write_part", "bgtasks.fence": 3}] * 3
    headers: dict[str, Any] = {}
    claim = PartClaim(Claim(asked.id, "logins", 3), 2, 0)
    traces._carry(sender="bgtasks.write_part", headers=headers, body=((claim,), {}, {}))
    assert f"{found[0].context.trace_id:032x}" in headers["traceparent"]


@pytest.mark.usefixtures("quiet")
def test_two_requests_of_one_process_have_two_traces(parts: Deployment, exported: InMemorySpanExporter) -> None:
    """What the last request has left is not the next one's."""
    for _ in range(2):
        registry.dispatch(toolbox.add_request({}, "quiet", REQUESTER, schedule=True).id)
    assert len({span.context.trace_id for span in exported.get_finished_spans()}) == 2


def test_an_error_is_its_code_and_its_type(parts: Deployment, exported: InMemorySpanExporter) -> None:
    """Never its text, nor criteria or a requester."""
    registry.register(Failing)
    asked = toolbox.add_request({"count": 77_123}, "failing", f"{MARKER}@example.com", schedule=True)
    with pytest.raises(RequestFailed):
        registry.dispatch(asked.id)
    failed = spans(exported)["bgtasks.build_items"]
    assert (failed.status.status_code.name, failed.status.description) == ("ERROR", "internal_error")
    assert failed.attributes is not None
    assert (failed.attributes["error.type"], failed.attributes["exception.type"]) == (
        "internal_error",
        "builtins.LookupError",
    )
    assert failed.events == ()
    assert MARKER not in said(exported)
    assert "77123" not in said(exported)


def test_a_step_that_others_have_is_no_error(parts: Deployment, exported: InMemorySpanExporter) -> None:
    """A doubled message is usual."""
    from bgtasks import execution
    from bgtasks.errors import ClaimLost

    asked = toolbox.add_request({}, "numbers", REQUESTER, schedule=True)
    parts.requests.claim(Claim.of(asked), "fetch_criteria", "", "somebody")
    with pytest.raises(ClaimLost):
        execution.run("fetch_criteria", Claim.of(asked), "another")
    lost = spans(exported)["bgtasks.fetch_criteria"]
    assert lost.status.status_code.name == "UNSET"
    assert (lost.attributes or {})["bgtasks.outcome"] == "ClaimLost"


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=9999-"}])
def test_a_download_names_its_route(parts: Deployment, exported: InMemorySpanExporter, headers: dict[str, str]) -> None:
    """The path has the token."""
    ready = finished()
    token = toolbox.create_token(ready)
    Client(application).get(f"/files/{token}", headers=headers, environ_overrides={"REMOTE_USER": REQUESTER})
    download = spans(exported)["bgtasks.download"]
    assert (download.attributes or {})["http.route"] == "/files/<token>"
    assert (download.attributes or {})["bgtasks.request_id"] == ready.id
    assert (download.attributes or {}).get("error.type") == ("PartIsNotThere" if headers else None)
    assert token[:20] not in said(exported)


def test_a_producers_trace_goes_into_the_message(app: Celery, exported: InMemorySpanExporter) -> None:
    """As W3C's header, with ids alone; baggage, which may be anything, stays behind; the sweeps' messages have none."""
    from opentelemetry import baggage, context

    published: list[dict[str, Any]] = []
    token = context.attach(baggage.set_baggage("user", MARKER))
    with trace.get_tracer("shop").start_as_current_span("checkout") as span:
        for name, args in (
            (request_file.name, ("numbers",)),
            ("bgtasks.write_bytes", (Claim("7", "numbers", 1),)),
            ("bgtasks.dispatch", ()),
        ):
            headers: dict[str, Any] = {}
            traces._carry(sender=name, headers=headers, body=(args, {}, {}))
            published.append(headers)
    context.detach(token)
    assert [list(headers) for headers in published] == [["traceparent"], ["traceparent"], []]
    context_of = span.get_span_context()
    assert published[0]["traceparent"].startswith(f"00-{context_of.trace_id:032x}-{context_of.span_id:016x}-")


def test_somebody_elses_header_stays(app: Celery, exported: InMemorySpanExporter) -> None:
    """Such as that of OpenTelemetry's instrumentation of Celery: there is one trace, and one road for it."""
    headers = {"traceparent": "theirs"}
    with trace.get_tracer("shop").start_as_current_span("checkout"):
        traces._carry(sender=request_file.name, headers=headers, body=(("numbers",), {}, {}))
    assert headers == {"traceparent": "theirs"}


def test_without_a_provider_nothing_is_done(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API alone, which other packages install, is no wish to trace."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    headers: dict[str, Any] = {}
    traces._carry(sender=request_file.name, headers=headers, body=((), {}, {}))
    with traces.span("bgtasks.notify", "CONSUMER", {}, "7"):
        assert not trace.get_current_span().get_span_context().is_valid
    assert headers == {}
    monkeypatch.setattr("sys.modules", SimpleNamespace(get=lambda _: None))
    assert traces._api() is None
