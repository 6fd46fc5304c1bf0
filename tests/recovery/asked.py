"""One request, as the record, the store, the mail server and its requester see it."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections import Counter
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from werkzeug.test import Client

from bgtasks import registry, request_file, toolbox
from bgtasks.canvas import STEPS
from bgtasks.models import FileRequest
from bgtasks.states import LIVE, EventKind, State
from bgtasks.wsgi import Application
from tests.recovery.gates import Gate
from tests.support.faults import Point, Stop
from tests.support.flights import FLIGHTS, as_csv

if TYPE_CHECKING:
    from tests.recovery.scene import Scene

#: What ``flights`` and ``gated_flights`` are asked for, and what the file must be.
CRITERIA = {"from_date": "2013-04-01"}
FLIGHTS_CSV = as_csv(FLIGHTS)

#: Entries of a history that tell of a mishap or of its repair.
MISHAPS = (EventKind.RECOVERED, EventKind.HANDED_BACK, EventKind.FAILED, EventKind.NOTIFY_FAILED, EventKind.CANCELLED)


@dataclass
class Asked:
    """One request."""

    scene: Scene
    file_type: str
    criteria: dict[str, Any]
    requester: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def send(self) -> Asked:
        """Ask for it, as any producer does."""
        request_file.apply_async((self.file_type, self.asked_for, self.requester), task_id=self.id)
        return self

    def schedule(self) -> Asked:
        """The same without a message to ask with: the row is stored here, and its chain published."""
        toolbox.add_request(self.asked_for, self.file_type, self.requester, schedule=True, id=self.id)
        return self

    @property
    def asked_for(self) -> dict[str, Any]:
        """The criteria: what its type has of flights, and of a gate that is called like the request."""
        known = registry.get(self.file_type)().get_criteria_class().model_fields
        return {name: value for name, value in {**CRITERIA, "gate": self.id}.items() if name in known} | self.criteria

    @property
    def gate(self) -> Gate:
        """Where its file type's own code waits, or leaves a trace."""
        return Gate(self.id, self.scene.folder / "gates")

    def stop_at(self, step: str, point: Point) -> Stop:
        """Where in one of its steps a child shall stop, or has stopped."""
        return Stop(self.scene.folder / "faults", self.id, step, point)

    def send_until(self, step: str, point: Point) -> Stop:
        """Ask for it, and wait until a child has stopped there."""
        stop = self.stop_at(step, point).arm()
        self.send()
        self.scene.until_stopped([stop])
        return stop

    # -- what the record says -------------------------------------------------------------------

    @property
    def row(self) -> FileRequest | None:
        """The row as it is now."""
        return self.scene.parts.requests.get(self.id)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, and its requester was told."""
        row = self.row
        return row is not None and row.state not in LIVE and (row.leased_by, row.dispatch_at) == (None, None)

    @property
    def tale(self) -> list[str]:
        """The history's entries, with what they are about."""
        entries = self.scene.parts.requests.history(self.id)
        return [" ".join(filter(None, (entry.kind, entry.step, entry.detail))) for entry in entries]

    @property
    def steps(self) -> list[str]:
        """The steps that have ended, in order."""
        return [entry.step for entry in self.scene.parts.requests.history(self.id) if entry.kind == EventKind.STEP]

    def fence_of(self, step: str) -> int:
        """The fence under which a step has ended."""
        entries = self.scene.parts.requests.history(self.id)
        return next(entry.fence for entry in entries if (entry.kind, entry.step) == (EventKind.STEP, step))

    @property
    def mishaps(self) -> Counter[str]:
        """What went wrong, and how often."""
        return Counter(e.kind for e in self.scene.parts.requests.history(self.id) if e.kind in MISHAPS)

    @property
    def dispatched(self) -> bool:
        """Whether a sweep has published it again."""
        return any(entry.kind == EventKind.DISPATCHED for entry in self.scene.parts.requests.history(self.id))

    # -- what the requester sees ----------------------------------------------------------------

    @property
    def mails(self) -> list[EmailMessage]:
        """What the mail server has for the requester."""
        return [mail for mail in self.scene.post.mails if mail["To"] == self.requester]

    def assert_is_served(self, contents: bytes = FLIGHTS_CSV, *, copies: int = 1, **mishaps: int) -> None:
        """One whole, right file, and one mail whose link brings it; each step was ended once.

        :param copies: how often the one mail came.
        :param mishaps: what the history tells, and how often.
        """
        row = self.row
        assert row is not None
        assert (row.state, row.step) == (State.READY, "notify"), self.tale
        assert (row.leased_by, row.leased_until, row.dispatch_at) == (None, None, None)
        assert self.steps == list(STEPS), self.tale
        assert row.object_key == f"{self.id}/{self.fence_of('write_bytes')}"  # written once, and never again
        assert self.mishaps == Counter(mishaps), self.tale
        assert row.attempts == mishaps.get(EventKind.RECOVERED, 0)
        taken_over = mishaps.get(EventKind.RECOVERED, 0) + mishaps.get(EventKind.HANDED_BACK, 0)
        assert row.fence == len(STEPS) + 2 * taken_over, self.tale  # each time: the fence that was lost, and a new one
        assert (row.size, row.sha256) == (len(contents), hashlib.sha256(contents).hexdigest())
        assert (self.scene.store / str(row.object_key)).read_bytes() == contents
        assert len(self.mails) == copies, self.tale
        assert len({mail["Message-ID"] for mail in self.mails}) == 1
        assert self.download() == contents

    def assert_has_failed(self, code: str, *, mails: int = 1, **mishaps: int) -> None:
        """No file, the reason, and one mail that tells it."""
        row = self.row
        assert row is not None
        assert (row.state, row.error_code) == (State.FAILED, code), self.tale
        assert (row.leased_by, row.leased_until, row.dispatch_at) == (None, None, None)
        assert self.mishaps == Counter({EventKind.FAILED: 1, **mishaps}), self.tale
        assert [str(row.error_message) in mail.get_content() for mail in self.mails] == [True] * mails
        assert len({mail["Message-ID"] for mail in self.mails}) == mails

    def download(self) -> bytes:
        """What the link in the mail brings to the requester."""
        text = self.mails[-1].get_body(("plain",)).get_content()  # type: ignore[union-attr]
        link = re.search(r"https://files\.example\.com(/files/\S+)", text)
        assert link is not None
        answer = Client(Application()).get(link[1], environ_overrides={"REMOTE_USER": self.requester})
        assert answer.status_code == 200
        return answer.data
