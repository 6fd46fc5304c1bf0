"""Old and new workers side by side: first the tables are upgraded, then one worker after the other."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from bgtasks import canvas, execution, migrations, registry, toolbox
from bgtasks.claims import Claim
from bgtasks.columns import columns_of
from bgtasks.deployment import Deployment
from bgtasks.errors import OutdatedTables
from bgtasks.models import FileRequest
from bgtasks.stack import Mailbox
from bgtasks.states import EventKind, State
from tests.support.file_types import Numbers
from tests.upgrade import before

STEPS = canvas.STEPS
#: Which of the steps an old worker does: none, all, the first ones, the last ones, every other one.
SHARES = [set[str](), set(STEPS), set(STEPS[:3]), set(STEPS[3:]), set(STEPS[::2]), set(STEPS[1::2])]


@pytest.fixture
def conf(mailbox: Mailbox) -> dict[str, Any]:
    """A mail server."""
    return {"bgtasks_smtp_url": mailbox.url}


def row_of(parts: Deployment) -> FileRequest:
    """The request as it is now."""
    row = parts.requests.get(before.ID)
    assert row is not None
    return row


def do(parts: Deployment, step: str, old: set[str]) -> None:
    """One step, by a worker of the old version or by ours."""
    if step not in old:
        execution.run(step, Claim.of(row_of(parts)), "new@host 3f2a9c1b-0000-4000-8000-00000000000f")
        return
    before.act(parts.database, step)
    if step == "write_bytes":  # of which the statements are the smaller part
        with parts.store.open_writer(before.OBJECT_KEY) as writer:
            Numbers().write_bytes(Numbers.restore(row_of(parts)).restore_dataset(row_of(parts)), writer)
            writer.commit()
        assert writer.sha256 == before.SHA256


def assert_is_ready(parts: Deployment) -> None:
    """One whole file, each step done once, and the requester told."""
    row = row_of(parts)
    assert (row.state, row.step, row.fence) == (State.READY, "notify", len(STEPS))
    assert (row.leased_by, row.dispatch_at, row.attempts) == (None, None, 0)
    assert (row.object_key, row.sha256, row.rows_written) == (before.OBJECT_KEY, before.SHA256, 3)
    assert b"".join(parts.store.read(before.OBJECT_KEY)).startswith(b"number,name\r\n")
    entries = parts.requests.history(before.ID)
    assert [entry.step for entry in entries if entry.kind == EventKind.STEP] == list(STEPS)
    assert row.notified_at is not None
    assert toolbox.decode(toolbox.create_token(row))[0].id == before.ID


def name_of(share: set[str]) -> str:
    """For the report."""
    return "old: " + ("".join(step[0] if step in share else "." for step in STEPS))


@pytest.mark.parametrize("old", SHARES, ids=name_of)
def test_old_and_new_workers_share_a_request(parts: Deployment, mailbox: Mailbox, old: set[str]) -> None:
    """Asked for before the upgrade; each step is done by one of them on the new tables, under the other's fence."""
    before.go_back(parts.database)
    before.act(parts.database, "asked")
    migrations.upgrade(parts.database)
    for step in STEPS:
        do(parts, step, old)
    assert_is_ready(parts)
    assert len(mailbox.mails) == (STEPS[-1] not in old)


def test_the_upgrade_comes_in_the_middle_of_a_request(parts: Deployment) -> None:
    """What an old worker has begun before, it ends after."""
    before.go_back(parts.database)
    for what in ("asked", *STEPS[:3]):
        before.act(parts.database, what)
    migrations.upgrade(parts.database)
    with parts.store.open_writer(before.OBJECT_KEY) as writer:
        Numbers().write_bytes(Numbers.restore(row_of(parts)).restore_dataset(row_of(parts)), writer)
        writer.commit()
    for step in STEPS[3:]:
        before.act(parts.database, step)
    assert_is_ready(parts)


def test_old_workers_end_what_new_ones_were_asked_for(parts: Deployment) -> None:
    """A new row is one that they understand."""
    asked = columns_of({"count": 3}, "numbers", "ada@example.com", id=before.ID)
    parts.requests.insert(asked, scheduled=True)
    for step in STEPS:
        do(parts, step, set(STEPS))
    assert_is_ready(parts)


def test_an_old_producer_asks_on_new_tables(parts: Deployment) -> None:
    """The columns that it does not know have defaults, and what it asks for is done by a new worker."""
    before.act(parts.database, "asked")
    row = row_of(parts)
    assert (row.state, row.queue, row.store_url) == (State.PENDING, None, None)
    assert Numbers.handle(row)
    assert_is_ready(parts)


def test_a_new_worker_before_the_upgrade_says_what_to_do_and_loses_nothing(parts: Deployment) -> None:
    """It takes no claim, and the request goes on when the tables are there. (``test_periods`` has ``request_file``.)"""
    before.go_back(parts.database)
    before.act(parts.database, "asked")
    claim = Claim(before.ID, "numbers", 0)
    with pytest.raises(OutdatedTables, match="outdated: run celery bgtasks migrate"):
        execution.run("fetch_criteria", claim, "new@host 1")
    before.act(parts.database, "fetch_criteria")  # an old worker would have taken it meanwhile
    migrations.upgrade(parts.database)
    assert Numbers.handle(row_of(parts))
    assert_is_ready(parts)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_ledger_that_is_not_upgraded_yet_costs_nobody_the_mail(
    parts: Deployment, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the steps before need nothing new the telling waits for the migration, whatever else is wrong with it."""
    row = toolbox.add_request({"count": 3}, "numbers", "ada@example.com", id=before.ID)
    rename(parts, "refusal", "another")
    with monkeypatch.context() as unconfigured:
        unconfigured.setattr(Numbers, "notifiers", ("apprise", "email"))
        assert not Numbers.handle(row)
    after = row_of(parts)
    assert (after.state, after.step, after.leased_by) == (State.READY, "tokenize", None)
    assert after.dispatch_at is not None
    rename(parts, "another", "refusal")
    assert Numbers.handle(after)
    assert [mail["To"] for mail in mailbox.mails] == ["ada@example.com"]


def rename(parts: Deployment, column: str, name: str) -> None:
    """Let the ledger be without a column that our version knows."""
    with parts.database.one_transaction() as connection:
        connection.execute(text(f"ALTER TABLE bgtasks_notifications RENAME COLUMN {column} TO {name}"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_new_chain_is_one_that_old_workers_understand(parts: Deployment) -> None:
    """The same tasks in the same order, with the same arguments: an old worker may be the next to take a link."""
    from tasks.flights import Flights

    registry.register(Flights)
    args, kwargs, embed = before.LINK["body"]
    asked = columns_of({"from_date": "2013-04-01"}, "flights", "ada@example.com", id=args[0]["request_id"])
    row = parts.requests.insert(asked, scheduled=True)
    Flights.restore(row).canvas(row).apply_async()
    with parts.app.connection_for_read() as connection:
        message = connection.SimpleQueue("files.flights").get(timeout=1)
        message.ack()
    ours = message.payload
    assert message.headers["task"] == before.LINK["headers"]["task"]
    assert (ours[0], ours[1]) == (args, kwargs)
    for role in ("chain", "errbacks"):
        known = [(link["task"], link["args"], link["kwargs"], link["immutable"]) for link in embed[role]]
        assert [(link["task"], link["args"], link["kwargs"], link["immutable"]) for link in ours[2][role]] == known
