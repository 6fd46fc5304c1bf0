"""A source of bytes that is read from an event loop is closed in any case, and by nobody while it is being read."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bgtasks.contrib.asgi.responses import Streamed
from bgtasks.contrib.chunks import Chunks
from bgtasks.stack import wait_for


class Source(Iterator[bytes]):
    """Says whether it is closed; each chunk takes as long as ``go_on`` is not set."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self._chunks = iter(chunks)
        self.go_on, self.is_read, self.is_closed = threading.Event(), threading.Event(), False

    def __next__(self) -> bytes:
        self.is_read.set()
        assert self.go_on.wait(10)
        assert not self.is_closed
        chunk = next(self._chunks)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def close(self) -> None:
        self.is_closed = True


def test_all_chunks_come_in_order() -> None:
    """And closing it afterwards closes the source."""

    async def read() -> list[bytes]:
        return [chunk async for chunk in chunks]

    source = Source(b"1", b"2")
    source.go_on.set()
    chunks = Chunks(source, asyncio.to_thread)
    assert asyncio.run(read()) == [b"1", b"2"]
    chunks.close()
    assert source.is_closed


def test_a_failure_is_raised_and_closes_the_source() -> None:
    """Django, for one, closes no response whose sending has failed."""

    async def read() -> None:
        assert await anext(chunks) == b"1"
        with pytest.raises(LookupError):
            await anext(chunks)

    source = Source(b"1", LookupError())
    source.go_on.set()
    chunks = Chunks(source, asyncio.to_thread)
    asyncio.run(read())
    assert source.is_closed


def test_a_source_that_is_being_read_is_closed_after_that() -> None:
    """Whoever waited for the chunk is not kept, and a generator can't be closed while it runs."""

    async def give_up() -> None:
        reading = asyncio.ensure_future(anext(chunks))
        await asyncio.to_thread(source.is_read.wait, 5)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not source.is_closed
        source.go_on.set()

    source = Source(b"1", b"2")
    chunks = Chunks(source, asyncio.to_thread)
    asyncio.run(give_up())
    wait_for(lambda: source.is_closed, "the source is not closed", 5)


def test_a_response_that_is_never_sent_closes_its_source() -> None:
    """Its client may be gone before the first byte."""

    async def send(message: Any) -> None:
        raise OSError("the client has gone")

    async def receive() -> Any:
        await asyncio.Event().wait()

    source = Source(b"1")
    with pytest.raises(OSError, match="gone"):
        asyncio.run(Streamed(Chunks(source, asyncio.to_thread), 200)({"type": "http"}, receive, send))
    assert source.is_closed
