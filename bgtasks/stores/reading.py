"""Chunks of an object in a bucket: the next one is under way while the last one is being sent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


def ahead(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """The first chunk, and the rest of them, of which never more than one is fetched ahead.

    :param rest: blocks while it fetches; what it raises is raised where that chunk would come.
    """
    fetching = ThreadPoolExecutor(1, "read ahead")
    try:
        chunk: bytes | None = first
        while chunk is not None:
            coming = fetching.submit(next, rest, None)
            yield chunk
            chunk = coming.result()
    finally:  # also when the client has gone: nobody waits for what is under way
        fetching.shutdown(wait=False, cancel_futures=True)
