"""What is asked for in a run: all of it is decided by the seed, before anything happens."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from bgtasks.states import State
from tests.chaos.exports import MOST_ROWS, ROWS, Divided, Readings, Trouble

#: The code of a request whose worker was lost too often: whatever was asked for, it may end like that.
WORKER_LOST = "worker_lost"
#: Requesters who share the requests among them.
REQUESTERS = 25
#: The share of files that are written in parts, and how many those are.
DIVIDED, PARTS = 0.2, (2, 6)
#: The share of these of which only some parts are out at once.
KEPT_BACK = 0.4
#: Of the time of a run, in which requests come; more of them at its beginning, so that some must wait.
ASKING = 0.8

Thing = TypeVar("Thing")


class Kind(StrEnum):
    """What becomes of a request if nothing happens to it."""

    PLAIN = "plain"
    LONG = "long"  #: it takes longer than a lease
    TWICE = "asked twice"
    CANCELLED = "cancelled"
    RAISES = "raises"
    TOO_LARGE = "too large"
    KILLS = "kills its worker"


#: So many of each kind, among a hundred.
SHARES = {
    Kind.PLAIN: 55,
    Kind.LONG: 16,
    Kind.TWICE: 9,
    Kind.CANCELLED: 9,
    Kind.RAISES: 5,
    Kind.TOO_LARGE: 4,
    Kind.KILLS: 2,
}

#: What each may end as.
ENDS = {
    Kind.PLAIN: {State.READY},
    Kind.LONG: {State.READY},
    Kind.TWICE: {State.READY},
    Kind.CANCELLED: {State.READY, State.CANCELLED},
    Kind.RAISES: {"internal_error"},
    Kind.TOO_LARGE: {"too_many_rows"},
    Kind.KILLS: set(),
}


class Road(StrEnum):
    """How a producer asks."""

    TASK = "request_file"
    CALL = "add_request"
    TRANSACTION = "add_request in a transaction"


@dataclass(frozen=True)
class Wish:
    """One request, as its requester thinks of it."""

    number: int
    kind: Kind
    road: Road
    at: float  #: seconds from the beginning
    file_type: str
    format: str
    criteria: Mapping[str, Any]
    ids: tuple[str, ...]  #: of each time that it is asked for
    patience: float  #: seconds until it is cancelled, or asked for once more

    @property
    def name(self) -> str:
        """By which mails, rows and reports call it."""
        return f"export-{self.number:04}"

    @property
    def requester(self) -> str:
        """Who asks."""
        return f"requester{self.number % REQUESTERS}@example.com"

    @property
    def idempotency_key(self) -> str | None:
        """What makes the second time the same request."""
        return self.name if self.kind == Kind.TWICE else None

    @property
    def ends(self) -> set[str]:
        """Its lawful ends: states, and the codes of failures."""
        return {*ENDS[self.kind], WORKER_LOST}


def deck(dice: random.Random, shares: Mapping[Thing, int], count: int) -> list[Thing]:
    """So many things, shuffled: each at least once if there is room, and the others by their shares."""
    things = list(shares)
    drawn = [*things, *dice.choices(things, weights=list(shares.values()), k=count)][:count]
    dice.shuffle(drawn)
    return drawn


def wishes(dice: random.Random, count: int, seconds: float) -> list[Wish]:
    """The requests of a run of so many seconds."""
    kinds = deck(dice, SHARES, count)
    return [_wish(dice, number, kind, ASKING * seconds * dice.random() ** 2) for number, kind in enumerate(kinds, 1)]


def _wish(dice: random.Random, number: int, kind: Kind, at: float) -> Wish:
    criteria, is_divided = _criteria(dice, kind), dice.random() < DIVIDED
    other, file_type = ("csv.gz", Divided.file_type) if is_divided else ("xlsx", Readings.file_type)
    return Wish(
        number=number,
        kind=kind,
        road=dice.choice(list(Road)),
        at=at,
        file_type=file_type,
        format="csv" if criteria.get("pause") or dice.random() < 0.8 else other,
        criteria={**criteria, **_parts(dice)} if is_divided else criteria,
        ids=tuple(str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(2 if kind == Kind.TWICE else 1)),
        patience=5 * dice.random(),
    )


def _parts(dice: random.Random) -> dict[str, Any]:
    """In how many a file is written, and how many of them at once."""
    parts = dice.randint(*PARTS)
    return {"parts": parts, "at_once": dice.randint(1, parts - 1) if dice.random() < KEPT_BACK else None}


def _criteria(dice: random.Random, kind: Kind) -> dict[str, Any]:
    """Of every size, most of them small; what shall meet with trouble is long enough to come to it."""
    first = dice.randrange(100)
    if kind in (Kind.PLAIN, Kind.TWICE):
        return {"first": first, "rows": int(MOST_ROWS ** dice.random()) - 1}
    if kind == Kind.TOO_LARGE:
        return {"rows": dice.randint(MOST_ROWS + 1, ROWS)}
    trouble = {Kind.RAISES: Trouble.RAISES, Kind.KILLS: Trouble.KILLS}.get(kind, Trouble.NONE)
    wide = kind == Kind.KILLS or dice.random() < 0.4
    pause = dice.uniform(0.02, 0.2) if trouble else dice.uniform(0.1, 0.6)
    return {"rows": MOST_ROWS, "wide": wide, "pause": round(pause, 2), "trouble": trouble.value}
