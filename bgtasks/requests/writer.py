"""The compare-and-set that every change of a request goes through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from bgtasks.claims import Held
from bgtasks.database import Database, later
from bgtasks.errors import ClaimLost
from bgtasks.history import events_of, log
from bgtasks.locales import Sentence, in_force, told
from bgtasks.models import Event, FileRequest, Part
from bgtasks.requests.changes import Change, changing
from bgtasks.settings import Settings
from bgtasks.states import EventKind, State

#: How the owner of a request begins that is handled by hand, with no chain to go on with.
BY_HAND = "by hand"

UNLEASED: dict[str, Any] = {"leased_by": None, "leased_until": None}
NEXT_FENCE: dict[str, Any] = {"fence": FileRequest.fence + 1}


class Writer:
    """What the parts of the record share."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def get(self, request_id: str) -> FileRequest | None:
        """The row as it is now."""
        with self._database.reading() as session:
            row = session.get(FileRequest, request_id)
            with_parts(session, [row] if row else [])
            return row

    def history(self, request_id: str) -> list[Event]:
        """What happened to a request, in order."""
        with self._database.reading() as session:
            return events_of(session, request_id)

    def note(self, seen: FileRequest, kind: EventKind, *, actor: str | None = None) -> None:
        """An entry in the history, with no change of state."""
        with self._database.writing() as session:
            log(session, seen, kind, actor=actor)

    def _change(
        self,
        request_id: str,
        *guards: ColumnElement[bool],
        values: dict[str, Any],
        events: tuple[EventKind, ...] = (),
        **entry: Any,
    ) -> FileRequest | None:
        """The row after the change, or None where the guards did not hold."""
        return Change(changing(*guards, values=values), events, **entry).make_once(self._database, request_id)

    def _remove(self, request_id: str, *guards: ColumnElement[bool]) -> FileRequest | None:
        """The row that is gone now, with its history and its ledger; None where the guards did not hold."""
        statement = delete(FileRequest).where(FileRequest.id == request_id, *guards).returning(FileRequest)
        with self._database.writing() as session:
            return session.scalars(statement, execution_options={"synchronize_session": False}).one_or_none()

    def _in_doubt(self, request_id: str, **written: Any) -> FileRequest:
        """The row, if an earlier try of the same write made it so, and only the answer was lost. Raises: ClaimLost."""
        row = self.get(request_id)
        if row is None or any(getattr(row, column) != value for column, value in written.items()):
            raise ClaimLost(request_id)
        return row

    def _waiting(self, waits: bool) -> dict[str, Any]:
        """Whether a message is in a queue now, to be believed in for the usual time."""
        return {"dispatch_at": later(self._settings.patience) if waits else None}


def with_parts(session: Session, rows: Sequence[FileRequest]) -> None:
    """Have the rows of files whose parts are out say how many rows those have written so far."""
    out = {row.id: row for row in rows if row.parts_are_out}
    if out:
        written = select(Part.request_id, func.sum(Part.rows)).where(Part.request_id.in_(out)).group_by(Part.request_id)
        for request_id, total in session.execute(written):
            set_committed_value(out[request_id], "rows_written", int(total))


def mine(held: Held) -> tuple[ColumnElement[bool], ...]:
    """Fence and owner: a heartbeat that is late must not lease a request that was released meanwhile."""
    return FileRequest.fence == held.file_request.fence, FileRequest.leased_by == held.owner


def said_to(seen: FileRequest, sentence: Sentence) -> str:
    """A sentence for a row, in the language of its requester."""
    with in_force(seen.language, seen.timezone):
        return told(sentence)


def failed(code: str, message: str) -> dict[str, Any]:
    """What makes a row ``failed``: nobody is answered with it any more."""
    sentence = {"error_code": code, "error_message": message}
    return {"state": State.FAILED, **sentence, "finished_at": later(), "coalesce_key": None}
