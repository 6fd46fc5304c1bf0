"""``celery bgtasks list``: the newest first, by an index, a page at a time."""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.requests import listing
from bgtasks.states import State
from tests.cli.conftest import HOSTILE, Run
from tests.record.moves import advanced, ask, claim, set_row
from tests.support.divided import halfway
from tests.support.handmade import in_seconds

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
TYPES, PEOPLE = ("numbers", "flights"), ("ada", "bob", None)


def filled(parts: Deployment, count: int) -> list[dict[str, Any]]:
    """So many requests of any kind, the newest first."""
    chance, now = random.Random(7), in_seconds(0)
    rows = [
        {
            "id": str(uuid.UUID(int=chance.getrandbits(128))),
            "file_type": chance.choice(TYPES),
            "requester": chance.choice(PEOPLE),
            "state": str(chance.choice(list(State))),
            "requested_at": now - timedelta(minutes=chance.randrange(count // 2)),  # some have the same time
        }
        for _ in range(count)
    ]
    with parts.database.writing() as session:
        session.execute(insert(FileRequest), rows)
    return sorted(rows, key=lambda row: (row["requested_at"], row["id"]), reverse=True)


FILTERS: list[dict[str, Any]] = [
    {},
    {"state": ["failed"]},
    {"state": ["pending", "ready"]},
    {"file_type": ["flights"]},
    {"file_type": ["numbers"], "state": ["running"]},
    {"file_type": ["numbers", "flights"], "state": ["failed", "expired"]},
    {"requester": ["ada"]},
    {"requester": ["ada"], "state": ["ready"], "file_type": ["numbers"]},
]


def test_each_filter_and_page_has_the_newest_of_its_kind(
    parts: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page after page, each request comes once, and in order; also where few of those that come by are wanted."""
    rows = filled(parts, 300)
    monkeypatch.setattr(listing, "LOOK", 16)
    options = {"state": "--state", "file_type": "--type", "requester": "--requester"}
    for wanted in FILTERS:
        expected = [row["id"] for row in rows if all(row[name] in values for name, values in wanted.items())]
        arguments = [part for name, values in wanted.items() for value in values for part in (options[name], value)]
        found, page = list[str](), run("list", "--json", "--limit", "23", *arguments).json
        while page["requests"]:
            found += [row["id"] for row in page["requests"]]
            if page["next"] is None:
                break
            page = run("list", "--json", "--limit", "23", "--after", page["next"], *arguments).json
        assert found == expected
    since = rows[100]["requested_at"].isoformat()
    expected = [row["id"] for row in rows if row["requested_at"] >= rows[100]["requested_at"]]
    found = [row["id"] for row in run("list", "--json", "--limit", "300", "--since", since).json["requests"]]
    assert found == expected


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_every_query_walks_along_an_index(parts: Deployment, run: Run) -> None:
    """None sorts or reads the table, and none skips rows that it has read."""
    rows = filled(parts, 6_000)
    queries = list[tuple[str, Any]]()

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        queries.append((statement, parameters))

    _analyse(parts)
    event.listen(parts.database.engine, "before_cursor_execute", note)
    for wanted in (
        [], ["--state", "failed"], ["--type", "flights"], ["--type", "flights", "--state", "running"],
        ["--requester", "ada"], ["--requester", "ada", "--state", "ready"], ["--since", "1h"],
    ):  # fmt: skip
        run("list", *wanted)
        run("list", "--after", rows[5000]["id"], *wanted)
    run("show", rows[0]["id"][:8])
    event.remove(parts.database.engine, "before_cursor_execute", note)
    assert len(queries) > 30
    for statement, parameters in queries:
        assert "OFFSET" not in statement
        with parts.database.reading() as session:
            driver = session.connection().connection.cursor()
            plan = "\n".join(line for (line,) in driver.execute(f"EXPLAIN {statement}", parameters))
        assert "Seq Scan on bgtasks_file_requests" not in plan, plan


def _analyse(parts: Deployment) -> None:
    with parts.database.writing() as session:
        session.execute(text("ANALYZE"))


@sqlite_only
def test_a_line_has_what_an_operator_needs(parts: Deployment, run: Run) -> None:
    """In a pipe with tabs and no heading, so that cut, awk and xargs do."""
    failed = parts.requests.fail(claim(parts, advanced(parts, "build_items")), "too_many_rows", "No.", waits=False)
    failed = set_row(parts, failed, attempts=2, rows_total=1_234_567, requested_at=in_seconds(-7200))
    writing = claim(parts, advanced(parts, "build_items")).file_request
    writing = set_row(parts, writing, rows_total=200, rows_written=90, requested_at=in_seconds(-3600))
    waiting = set_row(parts, ask(requester=None), dispatch_at=in_seconds(60))
    ready = set_row(parts, advanced(parts, "notify"), size=24_938_267, rows_written=5, requested_at=in_seconds(-9000))
    cells = {line[0]: line[1:] for line in run("list").cells}
    ada = "ada@example.com"
    assert list(cells) == [waiting.id, writing.id, failed.id, ready.id]
    assert cells[waiting.id][:6] == ["numbers", "pending", "waits: fetch_criteria", "", "", ""]
    assert cells[writing.id] == ["numbers", "running", "write_bytes 45%", ada, "90", "", "60m", "0", ""]
    assert cells[failed.id] == [
        "numbers", "failed", "build_items", ada, "1,234,567", "", "2h", "2", "too_many_rows",
    ]  # fmt: skip
    assert cells[ready.id] == ["numbers", "ready", "notify", ada, "5", "24.9 MB", "2h", "0", ""]


@sqlite_only
def test_a_file_in_parts_has_the_rows_of_all(parts: Deployment, run: Run) -> None:
    """Nobody holds the request, and nobody waits for its message: its parts are out."""
    row = halfway(parts)
    cells = run("list").cells[0]
    assert (cells[2:4], cells[5]) == (["running", "write_bytes 50% (1/3)"], "45")
    [said] = run("list", "--json").json["requests"]
    assert (said["id"], said["rows_written"], said["parts_done"], said["parts_total"]) == (row.id, 45, 1, 3)


@sqlite_only
def test_what_is_handled_by_hand_says_so(parts: Deployment, run: Run) -> None:
    """It has no chain, and maybe no type."""
    parts.requests.take(ask(), "me")
    assert run("list").cells[0][3] == "by hand"


@sqlite_only
def test_a_hostile_name_moves_no_cursor_and_makes_no_line(parts: Deployment, run: Run) -> None:
    """Everything that a user typed is escaped, in a pipe and in JSON too, where it stays the same value."""
    row = set_row(parts, ask(), requester=HOSTILE)
    for said in (run("list"), run("show", row.id), run("list", "--json"), run("show", "--json", row.id)):
        assert not set(said.output) & set("\x1b\x07\x9b\u202e\u2028")
        assert "Grüße 👩\u200d💻 你好" in said.output
    assert len(run("list").cells) == 1
    assert run("list", "--json").json["requests"][0]["requester"] == HOSTILE


WRONG = [
    (["--state", "done"], 2, "--state"),
    (["--limit", "0"], 2, "--limit"),
    (["--since", "yesterday"], 2, "an age, such as 24h"),
    (["--after", "11111111"], 3, "11111111"),
]


@sqlite_only
def test_wrong_use_has_its_codes(run: Run) -> None:
    """A sentence that names the option."""
    for arguments, code, named in WRONG:
        said = run("list", *arguments)
        assert (said.code, named in said.errors) == (code, True)


@pytest.mark.parametrize(
    ("said", "seconds"), [("90s", 90), ("2m", 120), ("3h", 10_800), ("2d", 172_800), ("1w", 604_800)]
)
def test_an_age_is_a_time(said: str, seconds: int) -> None:
    """Counted back from now; and a time without a zone is in UTC."""
    from bgtasks.cli.selecting import Since

    moment = Since().convert(said, None, None)
    assert abs((in_seconds(-seconds) - moment).total_seconds()) < 5
    assert Since().convert("2026-11-01T08:30", None, None) == datetime.fromisoformat("2026-11-01T08:30+00:00")


@sqlite_only
def test_missing_tables_are_told_with_their_remedy(parts: Deployment, run: Run) -> None:
    """In one sentence, with exit code 1."""
    with parts.database.writing() as session:
        for table in ("bgtasks_events", "bgtasks_notifications", "bgtasks_file_requests"):
            session.execute(text(f"DROP TABLE {table}"))
    said = run("list")
    assert (said.code, said.errors) == (1, "Error: the tables of bgtasks are missing: run celery bgtasks migrate\n")
