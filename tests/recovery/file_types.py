"""File types as users might write them, on good days and on bad ones."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

from celery.exceptions import SoftTimeLimitExceeded
from pydantic import BaseModel

from bgtasks import FileType, registry
from bgtasks.file_types import Dataset
from bgtasks.notifiers import Message
from tasks.flights import Flights, flights
from tests.recovery.gates import Gate

PACE = 0.01  # seconds between two writes of what has no end


class GatedFlights(Flights):
    """The flights; in the middle of the writing the worker waits at the request's gate."""

    file_type = "gated_flights"

    class Criteria(Flights.Criteria):
        gate: str

    def write_bytes(self, dataset: Dataset, buffer: BinaryIO) -> None:
        super().write_bytes(dataset, _GatedBuffer(buffer, Gate(dataset.criteria.gate)))  # type: ignore[arg-type]


class _GatedBuffer:
    """A binary file whose second write waits at a gate."""

    def __init__(self, buffer: BinaryIO, gate: Gate) -> None:
        self._buffer, self._gate = buffer, gate
        self._writes = 0

    def write(self, data: bytes) -> int:
        self._writes += 1
        if self._writes == 2:
            self._gate.wait()
        return self._buffer.write(data)


class Gated(BaseModel):
    """Criteria that name a gate."""

    gate: str


class GatedItems(FileType):
    """The selecting waits at the gate; then there are three rows."""

    file_type = "gated_items"
    columns = ("number",)
    criteria_class = Gated

    def get_items(self, criteria: Any) -> list[tuple[int]]:
        Gate(criteria.gate).wait()
        return [(number,) for number in range(3)]


class EndlessRows(FileType):
    """Rows without end, through a format."""

    file_type = "endless_rows"
    columns = ("number",)
    criteria_class = Gated

    def get_items(self, criteria: Any) -> Iterator[tuple[int]]:
        with Gate(criteria.gate).visited():
            for number in range(10**9):
                if number % 200 == 0:
                    time.sleep(PACE)
                yield (number,)


class EndlessBytes(FileType):
    """Bytes without end, in the type's own words."""

    file_type = "endless_bytes"
    criteria_class = Gated

    def get_items(self, criteria: Any) -> list[Any]:
        return []

    def write_bytes(self, dataset: Dataset, buffer: BinaryIO) -> None:
        with Gate(dataset.criteria.gate).visited():
            while True:
                self.write_more(buffer)

    def write_more(self, buffer: BinaryIO) -> None:
        """A little more."""
        buffer.write(b"and so on\r\n")
        time.sleep(PACE)


class TooSlow(EndlessBytes):
    """It has a limit of its own, and is interrupted there."""

    file_type = "too_slow"
    time_limit = 1.0


class Limited(EndlessBytes):
    """It is given Celery's hard limit, which kills its child."""

    file_type = "limited"
    celery_kwargs = {"time_limit": 1.0}


class Stubborn(EndlessBytes):
    """It takes no notice of the soft limit."""

    file_type = "stubborn"
    celery_kwargs = {"soft_time_limit": 1.0, "time_limit": 2.0}

    def write_more(self, buffer: BinaryIO) -> None:
        try:
            super().write_more(buffer)
        except SoftTimeLimitExceeded:
            time.sleep(PACE)


class Large(FileType):
    """So many bytes."""

    file_type = "large"

    class Criteria(BaseModel):
        megabytes: int

    def get_items(self, criteria: Any) -> list[Any]:
        return []

    def write_bytes(self, dataset: Dataset, buffer: BinaryIO) -> None:
        buffer.writelines(b"0123456789abcdef" * 65536 for _ in range(dataset.criteria.megabytes))


class Faulty(FileType):
    """Code with a fault in it."""

    file_type = "faulty"
    columns = ("number",)

    class Criteria(BaseModel):
        fault: str

    def get_items(self, criteria: Any) -> Iterator[tuple[int]]:
        if criteria.fault == "get_items":
            raise ValueError("a fault in get_items")
        return self._rows(criteria)

    def write_bytes(self, dataset: Dataset, buffer: BinaryIO) -> None:
        super().write_bytes(dataset, buffer)
        if dataset.criteria.fault == "write_bytes":
            raise ValueError("a fault in write_bytes")
        if dataset.criteria.fault == "sys.exit":
            raise SystemExit(1)

    def _rows(self, criteria: Any) -> Iterator[tuple[int]]:
        yield from ((number,) for number in range(5000))
        if criteria.fault == "items":
            raise ValueError("a fault while the rows are read")
        if criteria.fault == "memory":
            bytearray(1 << 62)
        if criteria.fault == "killed":  # as the kernel does where memory has run out
            os.kill(os.getpid(), signal.SIGKILL)


class Talkative(GatedItems):
    """It tells of a cancel, and reminds of a file long before that expires."""

    file_type = "talkative"
    tell_cancels = True
    tell_expiry = 80_000.0


class DeadlyNotifier:
    """Telling is the death of whoever tries."""

    channel = "deadly"

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Untellable(Faulty):
    """A file that is well made; nobody can be told of it."""

    file_type = "untellable"
    notifiers = (DeadlyNotifier(),)


class PartedFlights(Flights):
    """The flights, written by several workers; each waits at a gate of its own once it has begun to write."""

    file_type = "parted_flights"
    formats = ("csv",)
    part_key = flights.c.id

    class Criteria(Flights.Criteria):
        gate: str
        parts: int = 3
        #: The number of a part whose writing has a fault, until the gate ``mended`` is open.
        fault: int | None = None

    def get_parts(self, criteria: Any, count: int) -> int:
        return int(criteria.parts)

    def write_part(self, dataset: Dataset, buffer: BinaryIO, number: int) -> None:
        gate = dataset.criteria.gate
        if number == dataset.criteria.fault and not Gate(f"{gate}.mended").is_open:
            raise ValueError("a fault in write_part")
        super().write_part(dataset, _LingeringBuffer(buffer, Gate(f"{gate}.{number}")), number)  # type: ignore[arg-type]


class _LingeringBuffer:
    """A binary file whose first write has its writer wait at a gate."""

    def __init__(self, buffer: BinaryIO, gate: Gate) -> None:
        self._buffer, self._gate = buffer, gate
        self._has_begun = False

    def write(self, data: bytes) -> int:
        written = self._buffer.write(data)
        if not self._has_begun:
            self._has_begun = True
            self._gate.wait()
        return written


class OneByOne(PartedFlights):
    """One part is at work at a time, however many slots are free."""

    file_type = "one_by_one"
    max_parts_at_once = 1


class EndlessParts(PartedFlights):
    """Parts without end."""

    file_type = "endless_parts"

    def write_part(self, dataset: Dataset, buffer: BinaryIO, number: int) -> None:
        with Gate(f"{dataset.criteria.gate}.{number}").visited():
            while True:
                buffer.write(b"and so on\r\n")
                time.sleep(PACE)


TYPES = (
    GatedFlights,
    GatedItems,
    EndlessRows,
    EndlessBytes,
    TooSlow,
    Limited,
    Stubborn,
    Large,
    Faulty,
    Talkative,
    Untellable,
    PartedFlights,
    OneByOne,
    EndlessParts,
)

for one in TYPES:
    registry.register(one)
