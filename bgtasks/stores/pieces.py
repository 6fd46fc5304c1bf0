"""Of which pieces S3 is to make one object: it copies what is large, and is sent what is small.

Its rules: at most 10,000 pieces; each of 5 MiB to 5 GiB, the last one of any size; a range is copied only of an object
that is larger than 5 MB: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bgtasks.stores.joining import PartObject

MOST = 10_000  # pieces
LEAST = 5 * 1024 * 1024  # bytes
LARGEST = 5 * 1024 * 1024 * 1024  # bytes
#: Bytes of a usual piece that is copied: its request takes some seconds, and several are under way at once.
USUAL = 256 * 1024 * 1024


@dataclass(frozen=True)
class Piece:
    """Some bytes of the whole, from ``start`` to before ``stop``."""

    start: int
    stop: int
    source: PartObject | None = None  #: which they are copied of; None: they are sent
    offset: int = 0  #: where they begin in that

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stop - self.start

    @property
    def range(self) -> str | None:
        """The header of the range to copy; None: the source as a whole."""
        if self.source is None or self.size == self.source.size:
            return None
        return f"bytes={self.offset}-{self.offset + self.size - 1}"


def planned(parts: Sequence[PartObject]) -> list[Piece]:
    """The pieces in their order; none where S3 has nothing to copy, or can't: all is to be sent then."""
    largest = min(max(USUAL, -(-sum(part.size for part in parts) // (MOST // 2))), LARGEST)
    pieces = list(_pieces(parts, largest))
    is_of_use = any(piece.source for piece in pieces) and len(pieces) <= MOST
    return pieces if is_of_use else []


def _pieces(parts: Sequence[PartObject], largest: int) -> Iterator[Piece]:
    done = begin = 0  # where the next piece begins, and the part
    for part in parts:
        end = begin + part.size
        if done < begin and end - done >= LEAST:  # what is left of those before is filled up from this one
            yield Piece(done, done + LEAST)
            done += LEAST
        if done >= begin and end - done >= LEAST:
            yield from _copied(part, begin, done, largest)
            done = end
        begin = end
    if done < begin:
        yield Piece(done, begin)


def _copied(part: PartObject, begin: int, start: int, largest: int) -> Iterator[Piece]:
    """A part's bytes from ``start`` on, in pieces of about the same size."""
    size = begin + part.size - start
    count = -(-size // largest)
    bounds = [start + size * number // count for number in range(count + 1)]
    for first, last in itertools.pairwise(bounds):
        yield Piece(first, last, part, first - begin)
