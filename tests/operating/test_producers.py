"""Any program asks for a file: by a message of which the broker's own commands are all that it needs."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import amqp
import pytest
import redis
from werkzeug.test import Client

from bgtasks.deployment import Deployment
from bgtasks.stack import Mailbox, Process, Stack, wait_for
from bgtasks.wsgi import Application
from tests.conftest import BASE_URL
from tests.operating.conftest import ROOT
from tests.support import npm
from tests.support.flights import FLIGHTS, as_csv
from tests.support.rabbitmq import RabbitMQ

CRITERIA = {"from_date": "2013-04-01", "until_date": "2013-04-02"}
FILE = as_csv([row for row in FLIGHTS if row["date"].day <= 2])
#: A Celery producer for Node.js. (A machine without that has the message by hand.)
NODE_PACKAGE = "celery-node@0.5.9"
NODE_PROGRAM = """
const celery = require("celery-node");
const [broker, backend, criteria, requester] = process.argv.slice(1);
const client = celery.createClient(broker, backend, "bgtasks");
const asked = client.createTask("bgtasks.request_file").applyAsync(["flights", JSON.parse(criteria)], { requester });
asked.get(60000).then(answer => { console.log(JSON.stringify(answer)); return client.disconnect(); });
"""


@dataclass
class Site:
    """A deployment, as a program in another language knows it."""

    broker_url: str
    results_url: str
    post: Mailbox

    def result(self, request_id: str) -> dict[str, Any]:
        """What Celery calls the result of a task, read with Redis's own command."""
        with redis.Redis.from_url(self.results_url) as results:
            found = wait_for(lambda: results.execute_command("GET", f"celery-task-meta-{request_id}"), "no result")
        return dict(json.loads(found))

    def assert_is_served(self, requester: str, answer: dict[str, Any]) -> None:
        """The mail's link brings the requester the file that the result tells of."""
        expected = {"state": "ready", "filename": "flights.csv", "rows": FILE.count(b"\r\n") - 1, "size": len(FILE)}
        assert {name: answer[name] for name in expected} == expected
        [mail] = wait_for(lambda: [mail for mail in self.post.mails if mail["To"] == requester], "no mail has come")
        link = re.search(rf"{BASE_URL}(/files/\S+)", mail.get_body(("plain",)).get_content())
        assert link is not None
        answered = Client(Application()).get(link[1], environ_overrides={"REMOTE_USER": requester})
        assert (answered.status_code, answered.data) == (200, FILE)


def message(requester: str, criteria: dict[str, str]) -> tuple[str, str, dict[str, str]]:
    """The id, the body and the headers of a Celery message (protocol 2), no more than it takes."""
    request_id = str(uuid.uuid4())
    body = [["flights", criteria], {"requester": requester}, {}]
    return request_id, json.dumps(body), {"task": "bgtasks.request_file", "id": request_id}


def push(url: str, requester: str, criteria: dict[str, str] = CRITERIA) -> str:
    """Send it with one command of Redis."""
    request_id, body, headers = message(requester, criteria)
    envelope = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers,
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
            "delivery_info": {"exchange": "", "routing_key": "bgtasks"},
        },
    }
    with redis.Redis.from_url(url) as broker:
        broker.execute_command("LPUSH", "bgtasks", json.dumps(envelope))
    return request_id


def publish(url: str, requester: str, criteria: dict[str, str] = CRITERIA) -> str:
    """Send it by AMQP, with nothing of Celery's."""
    request_id, body, headers = message(requester, criteria)
    parts = urlsplit(url)
    with amqp.Connection(f"{parts.hostname}:{parts.port}", virtual_host=parts.path[1:]) as connection:
        told = {"content_type": "application/json", "content_encoding": "utf-8", "application_headers": headers}
        connection.channel().basic_publish(amqp.Message(body, **told), exchange="", routing_key="bgtasks")
    return request_id


@pytest.fixture
def url_on_rabbitmq(stack: Stack, rabbitmq: RabbitMQ) -> Iterator[str]:
    """The URL of a broker of the other kind, which another worker of the same deployment serves."""
    url = rabbitmq.new_vhost()
    other = Stack(ROOT, stack.var, {**stack.env, "CELERY_BROKER_URL": url})
    worker = other.start_worker(name="rabbit")
    yield url
    worker.kill()


@pytest.fixture
def site(stack: Stack, post: Mailbox, parts: Deployment, worker: Process) -> Site:
    """The deployment of these tests."""
    return Site(stack.env["CELERY_BROKER_URL"], stack.env["CELERY_RESULT_BACKEND"], post)


@pytest.mark.parametrize("send", [push, publish])
def test_a_message_by_hand_is_a_request(
    send: Callable[[str, str], str], site: Site, request: pytest.FixtureRequest
) -> None:
    """An id, a name and the arguments: the file is mailed, and the result is where Celery's results are."""
    url = site.broker_url if send is push else request.getfixturevalue("url_on_rabbitmq")
    requester = f"{send.__name__}@example.com"
    request_id = send(url, requester)
    result = site.result(request_id)
    assert (result["status"], result["result"]["id"]) == ("SUCCESS", request_id)
    site.assert_is_served(requester, result["result"])


def test_a_failure_is_a_result_too(site: Site) -> None:
    """By its code, and in words for the requester."""
    request_id = push(site.broker_url, "push@example.com", {"from_date": "never"})
    result = site.result(request_id)
    assert (result["status"], result["result"]["exc_type"]) == ("FAILURE", "RequestFailed")
    words, id_, code = result["result"]["exc_message"]
    assert (id_, code) == (request_id, "invalid_criteria")
    assert words == "The criteria are not valid. from_date: This is not a date."


def test_a_program_in_node_asks_and_waits(site: Site) -> None:
    """By an npm package that speaks Celery's protocol; the answer is its own ``get()``."""
    program = npm.installed(NODE_PACKAGE)
    arguments = [site.broker_url, site.results_url, json.dumps(CRITERIA), "node@example.com"]
    done = subprocess.run(
        ["node", "-e", NODE_PROGRAM, "--", *arguments],
        cwd=program,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    site.assert_is_served("node@example.com", json.loads(done.stdout))
