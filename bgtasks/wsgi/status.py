"""How one request stands, for a page or a program to show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from bgtasks import deployment, links, locales, status_links
from bgtasks.models import FileRequest
from bgtasks.requests import Outlook
from bgtasks.states import LIVE, State
from bgtasks.tokens import CANCEL, DELETE


class Phase(StrEnum):
    """What there is to say; finer than the row's state."""

    WAITING = "waiting"  #: no worker has begun
    MAKING = "making"
    FINISHING = "finishing"  #: its parts are being put together; or it is whole, and its link is being made
    READY = "ready"
    UNLINKED = "unlinked"  #: it is there, and its link was withdrawn, or never given
    FORBIDDEN = "forbidden"  #: it is there, and the file type does not hand it to this visitor
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: Seconds after which it is worth asking again.
RETRY_AFTER = {Phase.WAITING: 3, Phase.MAKING: 1, Phase.FINISHING: 1}


@dataclass(frozen=True)
class Status:
    """A request as its requester sees it."""

    file_request: FileRequest
    phase: Phase
    outlook: Outlook
    visitor: str | None
    root: str  #: where the files application is mounted
    download_url: str | None  #: None, unless the file can be had now

    @classmethod
    def of(cls, row: FileRequest, visitor: str | None, root: str, *, with_outlook: bool = True) -> Status:
        """What this visitor is shown of a request."""
        outlook = deployment.current().requests.outlook(row) if with_outlook and row.state in LIVE else Outlook()
        phase = _phase(row, visitor)
        url = links.url(row, root) if phase == Phase.READY else None
        return cls(row, phase, outlook, visitor, root, url)

    @staticmethod
    def may_change(row: FileRequest, visitor: str | None) -> bool:
        """Whether somebody who sees the page may cancel or delete too: only who has asked, where that is known."""
        return row.requester is None or row.requester == visitor

    @property
    def name(self) -> str:
        """What the file is, in words: the request's own, or else its type's."""
        row, file_type = self.file_request, links.restored(self.file_request)
        described = file_type.get_file_description() if file_type else ""
        return row.description or described or row.filename or row.file_type

    @property
    def url(self) -> str:
        """The status page itself."""
        return status_links.path_of(self.file_request, self.root)

    @property
    def is_live(self) -> bool:
        """Whether it goes on by itself, and is worth looking at again."""
        return self.phase in RETRY_AFTER

    @property
    def retry_after(self) -> int | None:
        """Seconds after which it is worth asking again; None: never."""
        return RETRY_AFTER.get(self.phase)

    @property
    def fraction(self) -> float | None:
        """How much of the file is written; None: not known."""
        row = self.file_request
        if self.phase in (Phase.FINISHING, Phase.READY):
            return 1.0
        return min(row.rows_written / row.rows_total, 1.0) if row.rows_total else None

    @property
    def percent(self) -> int | None:
        """The same as a whole number, which is 100 when nothing is left."""
        return None if self.fraction is None else int(self.fraction * 100)

    @property
    def forms(self) -> dict[str, str]:
        """What can be done about it: the action, and its form's token."""
        row = self.file_request
        action = CANCEL if row.state in LIVE else DELETE
        goes_on = row.leased_by is not None or row.dispatch_at is not None  # somebody has still to be told
        if (action == DELETE and goes_on) or not self.may_change(row, self.visitor):
            return {}
        return {action: status_links.form_token(action, row, self.visitor)}

    def as_json(self) -> dict[str, Any]:
        """The same for a program. Times are ISO 8601; sizes are bytes.

        ``parts`` says in how many parts the file is written side by side, and how many of them are ``done``; it is None
        where one worker writes it, or nobody knows yet. ``rows_written`` and ``progress`` are those of all together.
        """
        row = self.file_request
        parts = None if row.parts_total is None else {"done": row.parts_done, "total": row.parts_total}
        failed = {"code": row.error_code, "message": row.error_message} if row.state == State.FAILED else None
        return {
            "id": row.id,
            "state": State.EXPIRED if self.phase == Phase.EXPIRED else row.state,
            "file_type": row.file_type,
            "description": row.description,
            "filename": row.filename,
            "rows_written": row.rows_written,
            "rows_total": row.rows_total,
            "parts": parts,
            "progress": self.fraction,
            "queue_position": self.outlook.position,
            "seconds_left": None if self.outlook.seconds is None else round(self.outlook.seconds),
            "size": row.size,
            "sha256": row.sha256,
            "requested_at": _iso(row.requested_at),
            "finished_at": _iso(row.finished_at),
            "expires_at": _iso(row.expires_at),
            "error": failed,
            "status_url": self.url,
            "download_url": self.download_url,
            "actions": {
                action: {"url": f"{self.url}/{action}", "csrf_token": token} for action, token in self.forms.items()
            },
        }


def _phase(row: FileRequest, visitor: str | None) -> Phase:
    if row.state == State.READY:
        return _phase_of_ready(row, visitor)
    if row.parts_are_written:
        return Phase.FINISHING
    return {
        State.PENDING: Phase.WAITING,
        State.RUNNING: Phase.MAKING,
        State.FAILED: Phase.FAILED,
        State.CANCELLED: Phase.CANCELLED,
        State.EXPIRED: Phase.EXPIRED,
    }[State(row.state)]


def _phase_of_ready(row: FileRequest, visitor: str | None) -> Phase:
    if row.has_expired:
        return Phase.EXPIRED
    if row.token_id is None:
        goes_on = row.leased_by is not None or row.dispatch_at is not None
        return Phase.FINISHING if goes_on else Phase.UNLINKED
    # Of a file that is for its requester only, whoever sees the page is that one.
    return Phase.READY if links.may_download(row, visitor) else Phase.FORBIDDEN


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(locales.current().zone).isoformat() if moment else None
