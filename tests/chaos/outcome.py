"""What came out of a run, as its end is found: rows, histories, mails, objects, results."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from celery.result import AsyncResult

from bgtasks.models import Event, FileRequest, Part
from bgtasks.states import EventKind, State
from tests.chaos.producers import Producers
from tests.chaos.scene import Scene
from tests.chaos.wishes import Wish

#: What the history says of an end.
ENDS = (EventKind.READY, EventKind.FAILED, EventKind.CANCELLED)

_NAME = re.compile(r"export-\d{4}")


@dataclass(frozen=True)
class Mail:
    """One mail, as the server has it."""

    message: EmailMessage
    recipients: list[str]

    @property
    def id(self) -> str:
        """What tells it from every other mail, and not from its own copies."""
        return str(self.message["Message-ID"])

    @property
    def name(self) -> str:
        """Which request it is about."""
        found = _NAME.search(str(self.message["Subject"]))
        return found[0] if found else ""

    @property
    def token(self) -> str | None:
        """In its link; None: it brings no file."""
        text = self.message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        found = re.search(r"https://files\.example\.com/files/(\S+)", text)
        return found[1] if found else None


@dataclass
class Ended:
    """One request, with all that there is about it."""

    wish: Wish
    row: FileRequest
    history: list[Event]
    mails: list[Mail]
    result: Any  #: what whoever waits is answered; None: nothing yet

    @property
    def end(self) -> str:
        """The state, or the code of a failure."""
        return str(self.row.error_code if self.row.state == State.FAILED else self.row.state)

    @property
    def title(self) -> str:
        """What it was, and what became of it."""
        return f"{self.wish.name} {self.row!r} ({self.wish.kind}, {self.wish.road}, {self.wish.format})"

    @property
    def tale(self) -> list[str]:
        """The history, a line for each entry."""
        began = self.history[0].at if self.history else None
        return [
            " ".join(filter(None, (f"{(e.at - began).total_seconds():7.2f} s #{e.fence:<3}", e.kind, e.step, e.detail)))
            for e in self.history
        ]

    @property
    def copies(self) -> int:
        """How often its mail came once too often."""
        return len(self.mails) - len({mail.id for mail in self.mails})

    @property
    def seconds(self) -> float:
        """From the asking until its requester was told, or until its end."""
        ended = self.row.notified_at or self.row.finished_at
        return (ended - self.row.requested_at).total_seconds() if ended else 0.0

    @property
    def making(self) -> list[Event]:
        """The history up to the end."""
        return self.history[: self._length_of_making]

    @property
    def telling(self) -> list[Event]:
        """The history since then, when only the telling was left."""
        return self.history[self._length_of_making :]

    @property
    def in_one_hand(self) -> list[Event]:
        """The rest of the history up to the end."""
        return [entry for entry in self.making if entry not in self.in_parts]

    @property
    def in_parts(self) -> list[Event]:
        """The history while the parts of its file were out: whatever is lost or handed back there is a part's."""
        kinds = [entry.kind for entry in self.history]
        if EventKind.PARTS not in kinds:
            return []
        out = self.history[kinds.index(EventKind.PARTS) + 1 :]
        return list(itertools.takewhile(lambda entry: entry.kind not in (*ENDS, EventKind.STEP), out))

    @property
    def lost_parts(self) -> Counter[str]:
        """How often the worker of each part was taken over from; by what the history calls it."""
        lost = (str(entry.detail) for entry in self.in_parts if entry.kind == EventKind.RECOVERED)
        return Counter(detail.partition(":")[0] for detail in lost)

    @property
    def parts_handed_back(self) -> int:
        """How often somebody gave one up for others."""
        return times(self.in_parts, EventKind.HANDED_BACK)

    @property
    def has_ended_in_parts(self) -> bool:
        """Whether its end came while they were out."""
        is_written = any(entry.kind == EventKind.STEP and entry.step == "write_bytes" for entry in self.history)
        return self.times(EventKind.PARTS) > 0 and not is_written

    @property
    def _length_of_making(self) -> int:
        ends = (number for number, entry in enumerate(self.history, 1) if entry.kind in ENDS)
        return next(ends, len(self.history))

    def times(self, *kinds: EventKind) -> int:
        """How often the history tells of that."""
        return times(self.history, *kinds)


def times(history: list[Event], *kinds: EventKind) -> int:
    """How often a history tells of that."""
    return sum(entry.kind in kinds for entry in history)


@dataclass
class Outcome:
    """All of it."""

    wishes: list[Wish]
    rows: dict[str, list[FileRequest]]  #: by the name of the request
    parts: list[Part]  #: that there are rows of
    ended: list[Ended]
    strangers: list[str]  #: rows and mails of requests that nobody has made
    mails: int
    objects: set[str]
    store: Path
    emptied: float
    cancelled: set[str]
    processes: list[str]  #: those that have ended by themselves, or would not end


def found(scene: Scene, wishes: list[Wish], producers: Producers) -> Outcome:
    """The end of a run, as everybody can see it."""
    rows = _by_name((row.description, row) for row in scene.rows())
    envelopes = zip(scene.post.mails, scene.post.envelopes, strict=True)
    mails = _by_name((mail.name, mail) for mail in (Mail(sent, list(env.rcpt_tos)) for sent, env in envelopes))
    names = {wish.name for wish in wishes}
    return Outcome(
        wishes=wishes,
        rows=rows,
        parts=scene.part_rows(),
        ended=[_ended(scene, wish, row, mails[wish.name]) for wish in wishes for row in rows[wish.name][:1]],
        strangers=sorted((rows.keys() | mails.keys()) - names),
        mails=len(scene.post.mails),
        objects={str(file.relative_to(scene.store)) for file in scene.store.rglob("*") if file.is_file()},
        store=scene.store,
        emptied=scene.emptied,
        cancelled=producers.cancelled,
        processes=[*(f"{n} has ended" for n in scene.ended), *(f"{n} would not end" for n in scene.stuck)],
    )


def _ended(scene: Scene, wish: Wish, row: FileRequest, mails: list[Mail]) -> Ended:
    answer: AsyncResult[Any] = scene.app.AsyncResult(row.id)
    return Ended(wish, row, scene.parts.requests.history(row.id), mails, answer.result if answer.ready() else None)


def _by_name(named: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    grouped = defaultdict(list)
    for name, thing in named:
        grouped[name].append(thing)
    return grouped
