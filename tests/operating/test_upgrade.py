"""Messages that the previous version has left in the queues, taken by a worker of this one."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import redis

from bgtasks.canvas import STEPS
from bgtasks.columns import columns_of
from bgtasks.deployment import Deployment
from bgtasks.stack import Process, Stack, wait_for
from bgtasks.states import EventKind, State
from tests.upgrade import before


def put(stack: Stack, queue: str, message: dict[str, Any]) -> None:
    """Put a message back into its queue, as it was."""
    envelope = {
        "body": base64.b64encode(json.dumps(message["body"]).encode()).decode(),
        "content-type": message["content_type"],
        "content-encoding": "utf-8",
        "headers": message["headers"],
        "properties": {
            **message["properties"],
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }
    with redis.Redis.from_url(stack.env["CELERY_BROKER_URL"]) as broker:
        broker.lpush(queue, json.dumps(envelope))


def test_old_messages_are_handled(parts: Deployment, stack: Stack, worker: Process) -> None:
    """A request, and the whole chain of another one; twice each, as messages may come."""
    args, _, _ = before.LINK["body"]
    asked, waiting = before.ASKING["headers"]["id"], args[0]["request_id"]
    parts.requests.insert(
        columns_of({"from_date": "2013-04-01"}, "flights", "ada@example.com", id=waiting), scheduled=True
    )
    for _ in range(2):
        put(stack, "bgtasks", before.ASKING)
        put(stack, "files.flights", before.LINK)
    for request_id in (asked, waiting):

        def is_over(request_id: str = request_id) -> bool:
            row = parts.requests.get(request_id)
            return row is not None and (row.state, row.step, row.leased_by) == (State.READY, "notify", None)

        wait_for(is_over, "the request is not over")
        steps = [entry.step for entry in parts.requests.history(request_id) if entry.kind == EventKind.STEP]
        assert steps == list(STEPS)
