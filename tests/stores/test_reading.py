"""A download from a bucket: the next chunk is under way while the last one is being sent, and no more than that."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from bgtasks.errors import TransientError
from bgtasks.stores.reading import ahead

TAKES = 0.02  # seconds


class Bucket:
    """Chunks that take their time."""

    def __init__(self, chunks: int, fault: Exception | None = None) -> None:
        self.fetched = 0
        self._chunks, self._fault = chunks, fault

    def rest(self) -> Iterator[bytes]:
        """All but the first."""
        for number in range(1, self._chunks):
            time.sleep(TAKES)
            self.fetched += 1
            yield b"%d" % number
        if self._fault is not None:
            raise self._fault


def reading() -> list[threading.Thread]:
    """The threads that fetch."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("read ahead")]


def test_fetching_and_sending_take_place_at_once() -> None:
    """Where each takes as long as the other, both together take little more than one of them."""
    begun = time.monotonic()
    for _ in Bucket(20).rest():
        time.sleep(TAKES)
    one_after_the_other, begun = time.monotonic() - begun, time.monotonic()
    for _ in ahead(b"0", Bucket(20).rest()):
        time.sleep(TAKES)
    assert time.monotonic() - begun < 0.85 * one_after_the_other


def test_no_more_than_one_is_fetched_ahead() -> None:
    """However slow the client is: its memory would be ours."""
    bucket = Bucket(10)
    chunks = ahead(b"0", bucket.rest())
    for sent in range(4):
        assert next(chunks) == b"%d" % sent
        time.sleep(3 * TAKES)
        assert bucket.fetched == sent + 1
    chunks.close()  # type: ignore[attr-defined]


def test_a_client_that_goes_away_ends_the_fetching() -> None:
    """What is under way comes to its end, and nothing more is asked for."""
    bucket = Bucket(10)
    chunks = ahead(b"0", bucket.rest())
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    for thread in reading():
        thread.join(5)
    assert (bucket.fetched, reading()) == (1, [])


def test_an_error_comes_in_its_place() -> None:
    """What came before it is whole, and no thread stays."""
    chunks = ahead(b"0", Bucket(3, TransientError("The file store does not answer just now.")).rest())
    assert [next(chunks) for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(TransientError):
        next(chunks)
    for thread in reading():
        thread.join(5)
    assert reading() == []
