"""Whatever is asked of the record all the time is found by an index: its cost is not that of the table's size.

The statements are those that the code really makes, with their parameters.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from sqlalchemy import select

from bgtasks import registry
from bgtasks.claims import Claim, PartClaim
from bgtasks.deployment import Deployment
from bgtasks.metrics.table import Table
from bgtasks.models import FileRequest
from bgtasks.object_keys import ObjectKey
from bgtasks.requests.reminding import Reminder
from bgtasks.states import State
from bgtasks.sweeps import finding
from tests.scale.conftest import DIVIDED, ENDED, LEFT_OVER, LIVE, PARTS, Talk

TABLES = ("bgtasks_file_requests", "bgtasks_events", "bgtasks_notifications", "bgtasks_parts")
#: The most rows that a step of a plan may expect to go through: hardly more than the live ones.
MOST = 1.2 * LIVE

#: What asks for every request that has parts: they are those of live requests, and of others until the next sweep.
OF_ALL_PARTS = ("parts that are left over",)

Call = Callable[[Deployment, FileRequest], Any]


def one(parts: Deployment, *guards: Any) -> FileRequest:
    """A row that is like this."""
    with parts.database.reading() as session:
        return session.scalars(select(FileRequest).where(*guards).order_by(FileRequest.requested_at).limit(1)).one()


def _step(parts: Deployment, row: FileRequest) -> None:
    held = parts.requests.claim(Claim.of(row), "fetch_criteria", "", "worker")
    assert parts.requests.renew(held)
    parts.requests.progress(held, rows_written=1)
    parts.requests.finish(held, {"rows_total": 3}, waits=True)


def _ask(**more: Any) -> Call:
    def call(parts: Deployment, _: FileRequest) -> None:
        new = {"id": str(uuid.uuid4()), "file_type": "numbers", "criteria": {}, "requester": "service"}
        parts.requests.insert({**new, **more.get("new", {})}, scheduled=True, most=more.get("most"))

    return call


def _outdated(parts: Deployment, _: FileRequest) -> None:
    assert "numbers" in parts.requests.file_types()
    assert parts.requests.forget(list(parts.requests.outdated("numbers", 30 * 86_400)), 30 * 86_400) > 0


def _overdue(parts: Deployment, _: FileRequest) -> None:
    expired = parts.requests.expire(list(parts.requests.overdue(3600)), 3600)
    assert len(expired) > 0
    assert list(parts.requests.with_leftovers()) != []
    assert len(parts.requests.drop_objects(expired)) == len(expired)


def _dispatched(parts: Deployment, row: FileRequest) -> None:
    assert parts.requests.dispatch(row, 60) is not None


def _recovered(parts: Deployment, _: FileRequest) -> None:
    assert parts.requests.recover(finding.lapsed()[0]) is not None


def _part(parts: Deployment, _: FileRequest) -> None:
    waiting = parts.parting.waiting(registry.names(), 3600)[0]
    row = waiting.file_request
    held = parts.parting.claim(PartClaim.of(row, waiting.part), "worker")
    assert parts.parting.renew(held)
    parts.parting.progress(held, rows_written=1)
    assert parts.parting.rows_written(row.id) > 1
    made = {"object_key": held.object_key, "size": 3, "sha256": "", "rows": 3}
    assert parts.parting.finish(held, made, most=10_000).released != ()


def _waiting_parts(parts: Deployment, _: FileRequest) -> None:
    found = parts.parting.waiting(registry.names(), 3600)
    assert 0 < len(found) <= DIVIDED / 2
    row = found[0].file_request
    assert found[0].is_due
    dispatched = parts.parting.dispatch(row, found[0].part)
    assert dispatched is not None
    assert parts.parting.postpone(row, dispatched) is not None


def _lapsed_parts(parts: Deployment, _: FileRequest) -> None:
    found = parts.parting.lapsed(registry.names())
    assert 0 < len(found) <= DIVIDED / 2
    assert parts.parting.recover(*found[0]) is not None


def _parts_left_over(parts: Deployment, _: FileRequest) -> None:
    found = list(parts.parting.left_over())
    assert 0 < len(found) <= LEFT_OVER
    assert parts.parting.unwanted(found[0]) != []
    parts.parting.drop(found[0])


def _pages(**more: Any) -> Call:
    def call(parts: Deployment, _: FileRequest) -> None:
        page = parts.requests.newest(20, **more)
        parts.requests.newest(20, after=page[-1], **more)

    return call


CALLS: dict[str, Call] = {
    "a step, from its claim to its end": _step,
    "a request that is dispatched again": _dispatched,
    "a request that is taken from a dead worker": _recovered,
    "a part, from its claim to its end": _part,
    "parts that wait for too long": _waiting_parts,
    "parts of dead workers": _lapsed_parts,
    "parts that are left over": _parts_left_over,
    "what is due": lambda _, __: finding.due(),
    "what was missed": lambda _, __: finding.missed(["numbers"], ["heavy"], 30),
    "the chosen queues": lambda _, __: finding.chosen_queues(),
    "what has lapsed": lambda _, __: finding.lapsed(),
    "what a process may handle": lambda _, __: finding.outstanding([]),
    "somebody's files": lambda parts, row: parts.requests.of(str(row.requester), 20, row.id),
    "a service's files": lambda parts, _: parts.requests.of("service", 20),
    "a row": lambda parts, row: parts.requests.get(row.id),
    "a history": lambda parts, row: parts.requests.history(row.id),
    "when it will be ready": lambda parts, row: parts.requests.outlook(row),
    "a new request": _ask(),
    "a new request of somebody who may have so many": _ask(most=100_000),
    "a new request that another may answer": _ask(new={"coalesce_key": "k"}),
    "a new request with a key": _ask(new={"idempotency_key": "k"}),
    "the newest": _pages(),
    "the newest of a state": _pages(states=[State.FAILED]),
    "the newest of a type": _pages(file_types=["numbers"]),
    "the newest of a requester": _pages(requester="service"),
    "what expires soon": lambda parts, _: parts.requests.unseen({"numbers": Reminder(3600.0, "notify")}, 100),
    "what is live, for metrics": lambda parts, _: list(Table(parts).collect()),
    "old rows, and their removal": _outdated,
    "expired files, and their removal": _overdue,
    "the stores that rows name": lambda parts, _: parts.requests.store_urls(),
    "objects": lambda parts, row: parts.requests.orphans([ObjectKey(f"{row.id}/1", row.id, 1, False)]),
}


@pytest.mark.parametrize("name", CALLS)
def test_it_is_found_by_an_index(
    parts: Deployment, full: str, overheard: Callable[[], AbstractContextManager[Talk]], name: str
) -> None:
    """No table is read whole, nothing is sorted that is much more than what is live, no index is read whole."""
    row = one(parts, FileRequest.state == State.PENDING, FileRequest.dispatch_at.is_not(None))
    with overheard() as said:
        CALLS[name](parts, row)
    explained = [
        (text, plan(full, text, given)) for text, given in said if text.startswith(("SELECT", "WITH", "UPD", "DEL"))
    ]
    assert explained, "nothing was asked"
    for text, found in explained:
        for node in nodes(found):
            what = f"{text}\n{node}"
            if name in OF_ALL_PARTS and node.get("Relation Name") == "bgtasks_parts":
                continue
            assert node["Node Type"] != "Seq Scan" or node["Relation Name"] not in TABLES, what
            assert node["Plan Rows"] <= MOST or node["is streamed"], what
            assert "Index Name" not in node or is_bounded(node), what


def is_bounded(node: dict[str, Any]) -> bool:
    """Whether an index is entered at a place, has few rows, or is left after the first ones."""
    of_few = node["Index Name"].endswith(("waiting", "leased", "ready_until", "leftovers", "live"))
    return "Index Cond" in node or of_few or (node["is streamed"] and "Filter" not in node)


def plan(url: str, text: str, given: Any) -> dict[str, Any]:
    """What PostgreSQL would do."""
    with psycopg.connect(url) as connection:
        [[found]] = connection.execute(f"EXPLAIN (FORMAT JSON) {text}", given).fetchall()
        return dict(found[0]["Plan"])


def nodes(found: dict[str, Any], is_streamed: bool = False) -> Iterator[dict[str, Any]]:
    """A plan's steps; of those from which a LIMIT takes rows one by one, no more than that are read."""
    kind = found["Node Type"]
    is_streamed = kind == "Limit" or (is_streamed and kind not in ("Sort", "Aggregate", "Hash", "Materialize"))
    yield {"is streamed": is_streamed, **{name: value for name, value in found.items() if name != "Plans"}}
    for below in found.get("Plans", ()):
        yield from nodes(below, is_streamed)


def test_the_table_is_what_it_is_said_to_be(parts: Deployment) -> None:
    """Most have ended; or else the plans would prove nothing."""
    with psycopg.connect(
        parts.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    ) as direct:
        found = dict(direct.execute("SELECT state, count(*) FROM bgtasks_file_requests GROUP BY 1").fetchall())
        [[parts_of_files]] = direct.execute("SELECT count(*) FROM bgtasks_parts").fetchall()
    assert found["expired"] > 0.8 * ENDED
    assert found["pending"] + found["running"] >= LIVE
    assert parts_of_files >= DIVIDED * PARTS
    assert min(found[state] for state in ("ready", "failed", "cancelled")) > 300
