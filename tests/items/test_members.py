"""The files of an archive: each has items of its own, and all have one watch."""

from __future__ import annotations

import pytest

from bgtasks.items import BATCH, Items, Member


def test_members_are_not_counted_and_are_no_rows() -> None:
    """Only reading them tells how many rows they have; only the format ``zip`` has files in it."""
    for source in ([Member("a.csv", [(1,)])], (Member("b.csv", [(2,)]),)):
        assert Items(source).count() is None
        with pytest.raises(TypeError, match="not Member"), Items(source).open():
            pass
    with Items([Member("a.csv", [(1,)])]).open_arrow() as rows:
        assert rows is None


def test_the_watch_sees_the_rows_of_all_members_together() -> None:
    """One after the other; and what it raises stops the file."""
    items, seen = Items([]), []

    def watch(total: int) -> None:
        seen.append(total)
        if total > 3 * BATCH:
            raise RuntimeError("stop")

    items.watch = watch
    for count in (BATCH + 1, 2, 0):
        with items.inner([(number,) for number in range(count)]).open() as rows:
            assert sum(map(len, rows.batches)) == count
    assert seen == [BATCH, BATCH + 1, BATCH + 3]
    with pytest.raises(RuntimeError, match="stop"), items.inner([(0,)] * 3 * BATCH).open() as rows:
        list(rows.batches)


def test_a_member_that_is_read_twice_is_counted_once() -> None:
    """As where a format looks for a faster road first."""
    items, seen = Items([]), []
    items.watch = seen.append
    inner = items.inner([(1,), (2,)], columns=("n",))
    for _ in range(2):
        with inner.open() as rows:
            assert (rows.columns, list(rows.batches)) == (("n",), [[(1,), (2,)]])
    assert seen == [2, 2]
