"""Objects that are to become one, and what has become of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from bgtasks.stores import Joined, PartObject, Store
from tests.support.s3 import Bucket

#: The bytes that a piece of an object must have, with the fixture ``few``.
FEW = 1000


def content(size: int, number: int) -> bytes:
    """A part's bytes, unlike those of its neighbours."""
    return (bytes(range(number, 251)) * (size // (251 - number) + 1))[:size]


def written(store: Store, key: str, sizes: Sequence[int]) -> list[PartObject]:
    """Parts of these sizes."""
    return [part(store, f"{key.replace('/3', '/2')}.{number}.1", content(size, number)) for number, size in
            enumerate(sizes)]  # fmt: skip


def part(store: Store, key: str, data: bytes) -> PartObject:
    with store.open_writer(key) as writer:
        writer.write(data)
        writer.commit()
    return PartObject(key, writer.size, writer.sha256)


def check(store: Store, key: str, parts: Sequence[PartObject], joined: Joined) -> None:
    """The object is the sum of its parts, which are what they were, and there is nothing else."""
    read = [b"".join(store.read(part.key)) for part in parts]
    whole = b"".join(store.read(key))
    assert [hashlib.sha256(each).hexdigest() for each in read] == [part.sha256 for part in parts]
    assert whole == b"".join(read)
    assert joined == Joined(len(whole), hashlib.sha256(whole).hexdigest())
    assert list(store.keys()) == sorted([*(part.key for part in parts), key])


def is_as_before(store: Store, parts: Sequence[PartObject], bucket: Bucket | None = None) -> None:
    """Nothing is left of an object that was not finished."""
    assert list(store.keys()) == sorted(part.key for part in parts)
    assert bucket is None or bucket.unfinished() == []
