"""What an operator sees in Flower, and what nobody sees there."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urljoin
from urllib.request import Request, urlopen

import pytest
from celery import Celery

from bgtasks import request_file
from bgtasks.canvas import STEPS
from bgtasks.deployment import Deployment
from bgtasks.errors import RequestFailed
from bgtasks.stack import HOST, Process, Stack, free_port, listens, wait_for
from tests.operating import markers
from tests.support.services import missing

README = (Path(__file__).parent.parent.parent / "README.md").read_text()
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
OPERATOR = "operator:a password of theirs"
WORKER = f"worker@{socket.gethostname()}"
#: Pages that no other page leads to.
UNLINKED = ("/metrics", "/healthcheck", "/api/workers?refresh=1", "/api/tasks", "/api/queues/length", "/api/task/types")
TABLE = "/tasks/datatable?draw=1&start=0&length=99&search[value]=&order[0][column]=0&order[0][dir]=asc"


class Flower:
    """A running Flower, with one operator."""

    def __init__(self, port: int, path: str = "") -> None:
        self.address = f"http://{HOST}:{port}{path}"

    def get(self, path: str, who: str | None = OPERATOR, method: str = "GET") -> str:
        """One page. Raises: HTTPError."""
        said = {"Authorization": "Basic " + base64.b64encode(who.encode()).decode()} if who else {}
        asked = Request(self.address + quote(path, safe="/?=&[]%@"), headers=said, method=method)
        with urlopen(asked, timeout=20) as answer:
            return str(answer.read().decode(errors="replace"))

    def status(self, path: str, who: str | None, method: str = "GET") -> int:
        """What somebody is answered."""
        try:
            self.get(path, who, method)
        except HTTPError as refused:
            with refused:
                return refused.code
        return 200

    def tasks(self) -> list[dict[str, Any]]:
        """All that Flower knows, by its API."""
        return list(json.loads(self.get("/api/tasks")).values())

    def crawl(self) -> dict[str, str]:
        """Every page that can be reached by following links, and every answer of the API."""
        found: dict[str, str] = {}
        ids = [task["uuid"] for task in self.tasks()]
        api = [f"/api/task/{kind}/{uuid}" for uuid in ids for kind in ("info", "result")]
        # Of steps no results are kept, and a page of Flower's that does not exist is none of ours.
        waiting = ["/", f"/worker/{WORKER}", "/workers?json=1", TABLE, *UNLINKED, *api, *(f"/task/{id}" for id in ids)]
        while waiting:
            path = waiting.pop()
            if path in found or path.startswith(("/static", "/logout")):
                continue
            try:
                found[path] = self.get(path)
            except HTTPError as refused:
                with refused:
                    found[path] = refused.read().decode()
            links = re.findall(r'(?:href|src)="([^"#]+)', found[path])
            there = [urljoin(f"{self.address}{path}", html.unescape(link)) for link in links]
            waiting += [link.removeprefix(self.address) for link in there if link.startswith(f"{self.address}/")]
        return found


@pytest.fixture(scope="module")
def flower(stack: Stack, request: pytest.FixtureRequest) -> Flower:
    """``celery flower`` where the reference deployment is, by its own flowerconfig.py; it shows, and does nothing."""
    port = free_port()
    process = stack.celery("flower", "flower", f"--port={port}", f"--basic-auth={OPERATOR}", "--read_only")
    request.getfixturevalue("worker")  # starts at the same time
    process.wait_until(lambda: listens(port))
    return Flower(port)


@pytest.fixture(scope="module")
def asked(app: Celery, parts: Deployment, flower: Flower) -> tuple[str, str]:
    """A file that was made, and one that could not be; Flower has heard of the end of both."""
    app.set_current()
    wait_for(lambda: WORKER in json.loads(flower.get("/api/workers?refresh=1")), "Flower knows no worker")
    who = {"requester": markers.REQUESTER, "requester_email": markers.ADDRESS}
    good = request_file.delay("flights", {"from_date": "2013-04-01", "carrier": "ZQ"}, **who)
    bad = request_file.delay("flights", {"from_date": markers.CRITERION}, **who)
    assert good.get(timeout=60)["state"] == "ready"
    with pytest.raises(RequestFailed):
        bad.get(timeout=60)

    def notified() -> bool:
        told = [task for task in flower.tasks() if (task["name"], task["state"]) == ("bgtasks.notify", "SUCCESS")]
        return len(told) == len((good, bad))

    wait_for(notified, "Flower has not heard of the end")
    return good.id, bad.id


@pytest.fixture(scope="module")
def divided(asked: tuple[str, str], flower: Flower) -> tuple[str, list[dict[str, Any]]]:
    """A file that was made in two parts, and what Flower knows of them."""
    who = {"requester": markers.REQUESTER, "requester_email": markers.ADDRESS}
    made = request_file.delay("flights_in_parts", {"from_date": "2013-04-01", "carrier": "ZQ"}, **who)
    assert made.get(timeout=60)["state"] == "ready"

    def written() -> list[dict[str, Any]]:
        found = [task for task in flower.tasks() if task["name"] == "bgtasks.write_part"]
        return found if [task["state"] for task in found] == ["SUCCESS"] * 2 else []

    wait_for(written, "Flower has not heard of the parts")
    return made.id, written()


def test_parts_are_listed_with_their_numbers(divided: tuple[str, list[dict[str, Any]]]) -> None:
    """Which part of which file: as readable as a step, and no more; of the keys that it is cut by nothing."""
    id, found = divided
    shown = sorted((task["args"], task["kwargs"], task["result"]) for task in found)
    named = [f"<flights_in_parts {id[:8]} #3 part {number}>" for number in (1, 2)]
    assert shown == [(f"({each},)", "{}", each) for each in named]
    assert {(task["worker"], task["routing_key"]) for task in found} == {(WORKER, "files.flights")}


def test_the_step_that_leaves_its_work_to_parts_is_over(
    flower: Flower, divided: tuple[str, list[dict[str, Any]]]
) -> None:
    """A task that is ignored looks as if it were at work for ever; and the rest of its chain is not sent in vain."""
    one_each = {f"bgtasks.{step}": ["SUCCESS"] for step in STEPS} | {"bgtasks.write_part": ["SUCCESS"] * 2}

    def states() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for task in flower.tasks():
            if f"<flights_in_parts {divided[0][:8]} " in str(task["args"]):
                found.setdefault(task["name"], []).append(task["state"])
        return found

    wait_for(lambda: states() == one_each, "Flower shows a step that is at work for ever, or more than there are")


def test_the_chain_is_listed_by_name_with_readable_claims(flower: Flower, asked: tuple[str, str]) -> None:
    """Which step of which file, in which turn: no more, and no less."""
    good, _ = asked
    seen = {task["name"]: task for task in flower.tasks() if good[:8] in str(task["args"])}
    for number, step in enumerate(STEPS):
        task = seen[f"bgtasks.{step}"]
        assert task["args"] == f"(<flights {good[:8]} #{number}>,)"
        assert task["result"] == f"<flights {good[:8]} #{number + 1}>"
        assert (task["state"], task["worker"], task["routing_key"]) == ("SUCCESS", WORKER, "files.flights")
    entry = json.loads(flower.get(f"/api/task/info/{good}"))
    assert (entry["name"], entry["state"], entry["result"]) == ("bgtasks.request_file", "SUCCESS", "ready")
    assert entry["args"] == entry["kwargs"] == "(hidden)"


def test_a_failure_is_seen_with_its_code(flower: Flower, asked: tuple[str, str]) -> None:
    """On the request itself, and on the step that has found it."""
    _, bad = asked
    entry = json.loads(flower.get(f"/api/task/info/{bad}"))
    assert (entry["state"], entry["exception"]) == ("FAILURE", "RequestFailed('invalid_criteria')")
    [step] = [task for task in flower.tasks() if task["state"] == "FAILURE" and bad[:8] in str(task["args"])]
    assert step["name"] == "bgtasks.fetch_criteria"
    failed = {task["uuid"] for task in json.loads(flower.get("/api/tasks?state=FAILURE")).values()}
    assert failed == {bad, step["uuid"]}


@pytest.mark.usefixtures("asked")
def test_queues_and_workers_are_listed(flower: Flower) -> None:
    """Who serves which queue, and how long each is."""
    worker = json.loads(flower.get("/api/workers?refresh=1"))[WORKER]
    ours = {"bgtasks", "files.flights", "files.login_events"}
    assert {queue["name"] for queue in worker["active_queues"]} == ours
    lengths = {
        queue["name"]: queue["messages"] for queue in json.loads(flower.get("/api/queues/length"))["active_queues"]
    }
    assert lengths == dict.fromkeys(ours, 0)


def test_the_table_of_tasks_shows_whose_step_it_is(flower: Flower, asked: tuple[str, str]) -> None:
    """The columns of flowerconfig.py: of six steps by the same names nobody could tell the file."""
    assert re.findall(r'data-column="(\w+)"', flower.get("/tasks"))[:3] == ["name", "args", "state"]
    shown = json.loads(flower.get(TABLE))["data"]
    assert f"(<flights {asked[0][:8]} #2>,)" in {task["args"] for task in shown}


@pytest.mark.usefixtures("asked", "divided")
def test_no_page_shows_a_secret(flower: Flower) -> None:
    """Whatever can be read there: no key, password, criterion, requester or address; of anybody, recurring ones too."""
    pages = flower.crawl()
    assert {"/workers", "/tasks", "/broker", "/metrics", f"/worker/{WORKER}"} <= pages.keys()
    assert "bgtasks_smtp_url" in pages[f"/worker/{WORKER}"]  # the configuration is there
    assert "flights-of-last-week" in pages["/api/workers?refresh=1"]
    shown = {(path, marker) for path, page in pages.items() for marker in markers.ALL if marker in page}
    assert shown == set()


def test_who_may_see_what(flower: Flower) -> None:
    """With an operator's password nobody else sees a page, but for two; without one the pages are open."""
    assert {flower.status(path, None) for path in ("/", "/tasks", "/broker", "/api/tasks")} == {401}
    assert {flower.status(path, None) for path in ("/metrics", "/healthcheck")} == {200}
    assert flower.status("/tasks", OPERATOR) == 200


@pytest.mark.usefixtures("asked")
def test_with_read_only_nobody_changes_anything(flower: Flower) -> None:
    """What the buttons would do is refused to operators too, and the pages have none."""
    actions = (
        f"worker/shutdown/{WORKER}",
        f"worker/pool/grow/{WORKER}",
        "task/revoke/1",
        "task/send-task/bgtasks.clean",
    )
    for action in actions:
        assert (flower.status(f"/api/{action}", None, "POST"), flower.status(f"/api/{action}", OPERATOR, "POST")) == (
            401,
            403,
        )
    page = flower.get(f"/worker/{WORKER}")
    assert "files.flights" in page
    assert "worker-pool-grow" not in page


@pytest.fixture
def proxied(stack: Stack, flower: Flower, tmp_path: Path) -> Iterator[Flower]:
    """Another one, without a login of its own, behind an nginx that has what the README says."""
    if not Path(NGINX).exists():
        missing("nginx")
    backend, port, folder = free_port(), free_port(), tmp_path
    process = stack.celery("flower below a path", "flower", f"--port={backend}", "--url_prefix=flower")
    [block] = re.findall(r"```nginx\n(location /flower/ .*?)```", README, re.DOTALL)
    (folder / "flower.htpasswd").write_text(OPERATOR.replace(":", ":{PLAIN}") + "\n")
    filled = block.replace("/etc/nginx", str(folder)).replace(":5555", f":{backend}")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    server = f"events {{}} http {{ access_log off; {temporary} server {{ listen {HOST}:{port};\n{filled} }} }}"
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(f"daemon off; pid {folder}/nginx.pid; {user} {server}")
    argv = [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "error.log")]
    nginx = Process("nginx", argv, folder / "nginx.log", folder, {})
    try:
        nginx.wait_until(lambda: listens(port))
        process.wait_until(lambda: listens(backend))
        yield Flower(port, "/flower")
    finally:
        nginx.stop()
        process.stop()


def test_behind_a_proxys_login_everything_is_closed(proxied: Flower) -> None:
    """``/metrics`` too; who has logged in gets the pages, and what they need, by links that lead there."""
    closed = ("/", "/tasks", "/metrics", "/healthcheck", "/api/tasks", "/static/css/flower.css")
    assert {proxied.status(path, None) for path in closed} == {401}
    assert {proxied.status(path, "operator:another password") for path in closed} == {401}
    page = proxied.get("/tasks")
    links = re.findall(r'(?:href|src)="(/[^"#]+)', page)
    assert {link.split("/")[1] for link in links} == {"flower"}
    needed = [link.removeprefix("/flower") for link in links if "/static/" in link]
    assert {proxied.status(link, OPERATOR) for link in needed} == {200}
    assert "flower_events_total" in proxied.get("/metrics")
    assert proxied.status("/api/tasks", OPERATOR) == 401  # by Flower itself, as the README says


def test_celerys_own_reports_show_no_secret(app: Celery) -> None:
    """``celery report`` is what people paste into public places."""
    report = app.bugreport()
    assert "bgtasks_smtp_url: '********'" in report
    assert [marker for marker in markers.ALL if marker in report] == []
