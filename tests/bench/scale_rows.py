"""Tables of millions of requests, made by PostgreSQL itself: a month of them, most of which have ended.

Of those that ended longer ago than a day the file has expired; 3 % have failed, and 1 % were cancelled. Each has two
entries in its history, and each live one, of the newest, one. As many files expire soon in each table, also while it
is looked at.
"""

from __future__ import annotations

from typing import Any

import psycopg

LIVE = 20_000
#: Of the live ones: being worked on, of those lost by their workers; and with a message that is due.
LEASED, LAPSED, DUE = 200, 20, 20
#: Of the ready ones, those whose time is over, and will be within the hour; and of the failed ones, those that were
#: kept for long enough.
OVERDUE, SOON, OUTDATED = 100, 150, 100

_COLUMNS = """
    id, file_type, requester, requester_email, state, step, fence, leased_by, leased_until, dispatch_at, object_key,
    size, sha256, error_code, token_id, requested_at, started_at, finished_at, expires_at, notified_at,
    format, criteria, description, filename, content_type, attempts, dispatches, rows_written, downloads
"""
# Every hundredth is of a type that is seldom asked for; every twentieth is one service's, whose list is long.
_WHAT = """
    id, CASE WHEN i % 100 = 7 THEN 'rare' WHEN i % 3 = 0 THEN 'others' ELSE 'numbers' END,
    CASE WHEN i % 20 = 3 THEN 'service' ELSE 'user' || i % users || '@example.com' END,
    'user' || i % users || '@example.com', state
"""
_DULL = """'csv', '{"count": 3}'::jsonb, '', 'numbers.csv', 'text/csv', 0, 0, 3, 0"""

_ENDED = f"""
INSERT INTO bgtasks_file_requests ({_COLUMNS})
SELECT {_WHAT}, 'notify', 6, NULL, NULL, NULL, CASE state WHEN 'ready' THEN id || '/3' END, 1000,
    md5(i::text) || md5(id::text), CASE state WHEN 'failed' THEN 'internal_error' END, md5(id::text), asked,
    asked + interval '5 s', CASE WHEN state = 'failed' AND i <= 32 * :outdated THEN asked - interval '40 days'
        ELSE asked + interval '30 s' END,
    CASE WHEN state = 'ready' AND i > :ended - :overdue THEN now() - interval '2 hours'
        WHEN state = 'ready' AND i > :ended - :overdue - :soon THEN now() + interval '50 min'
        WHEN state = 'ready' THEN asked + interval '24 hours'
        WHEN state = 'expired' THEN asked + interval '18 hours' END,
    asked + interval '31 s', {_DULL}
FROM (
    SELECT i, id, asked, :ended / 50 AS users, CASE WHEN i % 32 = 5 THEN 'failed' WHEN i % 100 = 1 THEN 'cancelled'
        WHEN asked > now() - interval '18 hours' THEN 'ready' ELSE 'expired' END AS state
    FROM (
        SELECT i, gen_random_uuid() AS id, now() - interval '90 min' - interval '28 days' * (1 - i / :ended.0) AS asked
        FROM generate_series(1, :ended) i
    ) numbered
) ended
"""
_LIVE = f"""
INSERT INTO bgtasks_file_requests ({_COLUMNS})
SELECT {_WHAT}, CASE state WHEN 'running' THEN 'build_items' ELSE '' END, CASE state WHEN 'running' THEN 2 ELSE 0 END,
    CASE WHEN i <= :leased THEN 'worker ' || i END,
    CASE WHEN i <= :lapsed THEN now() - interval '1 min' WHEN i <= :leased THEN now() + interval '9 hours' END,
    CASE WHEN i > :live - :due THEN now() - interval '1 min' WHEN i > :leased THEN now() + interval '9 hours' END,
    NULL, NULL, NULL, NULL, NULL, asked, CASE state WHEN 'running' THEN asked + interval '5 s' END, NULL, NULL, NULL,
    {_DULL}
FROM (
    SELECT i, gen_random_uuid() AS id, now() - interval '1 hour' * (1 - i / :live.0) AS asked, :ended / 50 AS users,
        CASE WHEN i <= :live / 10 THEN 'running' ELSE 'pending' END AS state
    FROM generate_series(1, :live) i
) live
"""
_HISTORY = """
INSERT INTO bgtasks_events (request_id, at, kind, step, fence)
SELECT id, coalesce(started_at, requested_at), 'requested', '', fence FROM bgtasks_file_requests
UNION ALL
SELECT id, finished_at, CASE state WHEN 'expired' THEN 'ready' ELSE state END, '', fence
FROM bgtasks_file_requests WHERE finished_at IS NOT NULL
"""
_LEDGER = """
INSERT INTO bgtasks_notifications (id, request_id, event, channel, recipient, message_id, created_at, sent_at)
SELECT gen_random_uuid(), id, 'ready', 'email', requester_email, id || '@example.com', notified_at, notified_at
FROM bgtasks_file_requests WHERE notified_at IS NOT NULL
"""
_TABLES = "bgtasks_file_requests", "bgtasks_events", "bgtasks_notifications"


def fill(url: str, ended: int, live: int = LIVE) -> None:
    """Fill the empty tables of a database.

    :param ended: how many requests that have ended.
    """
    shares = {"leased": LEASED, "lapsed": LAPSED, "due": DUE, "outdated": OUTDATED, "overdue": OVERDUE, "soon": SOON}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '512MB'")
        indexes = _drop_indexes(connection)
        for statement in (_ENDED, _LIVE, _HISTORY, _LEDGER):
            _execute(connection, statement, ended=ended, live=live, **shares)
        for index in indexes:
            connection.execute(index)
        for table in _TABLES:
            connection.execute(f"VACUUM (ANALYZE) {table}")


def _drop_indexes(connection: psycopg.Connection[Any]) -> list[str]:
    """What makes the indexes that are gone now: building them at the end takes a third of the time."""
    found = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s) AND indexname LIKE 'ix_%%'",
        [list(_TABLES)],
    ).fetchall()
    for name, _ in found:
        connection.execute(f"DROP INDEX {name}")
    return [definition for _, definition in found]


def _execute(connection: psycopg.Connection[Any], statement: str, **numbers: int) -> None:
    for name, number in numbers.items():
        statement = statement.replace(f":{name}", str(number))
    connection.execute(statement)
