"""How long it takes to forget a person with many requests, and whether anybody has to wait for it meanwhile.

Their own requests are found by an index. Where they appear with others is read in one pass over each table, once: it
holds no lock, and takes as long as the tables are big.
"""

from __future__ import annotations

import time

import psycopg

from bgtasks import forgetting
from tests.bench.scale_cleaning import nobody_waits, transactions, waiting
from tests.bench.scale_operations import World

PERSON, TRACES = "somebody@example.com", 1_000
THEIRS = """
UPDATE bgtasks_file_requests SET requester = %s, requester_email = %s
WHERE id IN (SELECT id FROM bgtasks_file_requests WHERE state = 'expired' ORDER BY requested_at LIMIT %s)
RETURNING id::text
"""
#: In other people's requests: a download of theirs in the history, and a line of the ledger.
WITH_OTHERS = """
WITH others AS (
    SELECT id, object_key FROM bgtasks_file_requests
    WHERE state = 'expired' AND requester <> %(who)s ORDER BY requested_at DESC LIMIT %(many)s
), told AS (
    UPDATE bgtasks_notifications SET recipient = %(who)s WHERE request_id IN (SELECT id FROM others)
)
INSERT INTO bgtasks_events (request_id, at, kind, step, fence, actor, detail)
SELECT id, now(), 'downloaded', '', 6, %(who)s, '192.0.2.1' FROM others
"""


def measure(there: World, requests: int) -> bool:
    """Forget somebody with so many, print what it took; whether nobody would have waited for too long."""
    with psycopg.connect(there.url, autocommit=True) as connection:
        ids = [id for (id,) in connection.execute(THEIRS, [PERSON, PERSON, requests])]
        connection.execute(WITH_OTHERS, {"who": PERSON, "many": TRACES})
        connection.execute("VACUUM (ANALYZE) bgtasks_file_requests, bgtasks_events, bgtasks_notifications")
    there.app.set_current()
    with transactions(there) as taken, waiting(there.url, ids) as waited:
        began = time.perf_counter()
        done = forgetting.forget(PERSON)
        seconds = time.perf_counter() - began
    print(f"forget: {done} in {seconds:.1f} s ({done.requests / seconds:.0f} requests a second)")
    fits = nobody_waits(taken, waited)
    return fits and done.is_whole and (done.requests, done.anonymised) == (requests, 2 * TRACES)
