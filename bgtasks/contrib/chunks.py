"""A response's bytes for an event loop, which must never wait for them."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

#: Runs a function in a thread and awaits it, as ``asyncio.to_thread`` does.
InThread = Callable[[Callable[[], Any]], Awaitable[Any]]


class Chunks(AsyncIterator[bytes]):
    """Each chunk is fetched in a thread, and none before it is asked for: a slow client makes its producer wait.

    What fails is raised to whoever sends the chunks, who must break the connection off. After that, and when nobody
    waits for a chunk any more, the source is closed: at once, or by the thread that still reads it.
    """

    def __init__(self, source: Iterable[bytes], in_thread: InThread) -> None:
        self._source, self._in_thread = source, in_thread
        self._iterator = iter(source)
        self._reading = threading.Lock()
        self._is_closed = False

    async def __anext__(self) -> bytes:
        try:
            chunk: bytes | None = await self._in_thread(self._read)
        except BaseException:
            self.close()
            raise
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def close(self) -> None:
        """Have no more chunks. It does not wait for the one that is being read."""
        self._is_closed = True
        if self._reading.acquire(blocking=False):
            try:
                getattr(self._source, "close", lambda: None)()
            finally:
                self._reading.release()

    def _read(self) -> bytes | None:
        try:
            with self._reading:
                return None if self._is_closed else next(self._iterator, None)
        finally:
            if self._is_closed:  # meanwhile, when ``close`` could not
                self.close()
