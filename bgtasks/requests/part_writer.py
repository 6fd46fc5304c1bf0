"""What the writers of parts share: each write demands that the request's parts are still out, under the same fence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, exists, literal_column, select, update
from sqlalchemy.orm import Session

from bgtasks.claims import HeldPart
from bgtasks.database import later
from bgtasks.models import FileRequest, Part
from bgtasks.requests.writer import Writer
from bgtasks.states import State

#: The request's parts are out, as ``FileRequest.parts_are_out`` has it.
OUT = (
    FileRequest.state == State.RUNNING,
    FileRequest.leased_by.is_(None),
    FileRequest.dispatch_at.is_(None),
    FileRequest.parts_done < FileRequest.parts_total,
)
#: A row that the same transaction has changed before is returned as it is now.
AS_IT_IS: dict[str, Any] = {"synchronize_session": False, "populate_existing": True}


@dataclass(frozen=True)
class Standing:
    """How things stand after a change."""

    file_request: FileRequest
    released: Sequence[Part] = ()  #: those whose turn it is: their messages are to be published


class PartWriter(Writer):
    """The compare-and-sets of parts, and of the request that they are of."""

    def _set_part(self, values: Mapping[str, Any], *guards: ColumnElement[bool]) -> Part | None:
        """As the function ``set_part``, in a transaction of its own."""
        with self._database.writing() as session:
            return set_part(session, values, *guards)

    def _is_published(self) -> dict[str, Any]:
        """A part whose message is published now."""
        return {"dispatch_at": later(self._settings.patience), "published_at": later()}


def set_part(session: Session, values: Mapping[str, Any], *guards: ColumnElement[bool]) -> Part | None:
    """The part after the change, or None where the guards did not hold."""
    changed = update(Part).where(*guards).values(dict(values)).returning(Part)
    return session.scalars(changed, execution_options=AS_IT_IS).one_or_none()


def set_request(session: Session, values: Mapping[str, Any], *guards: ColumnElement[bool]) -> FileRequest | None:
    """The request after the change, or None where the guards did not hold."""
    changed = update(FileRequest).where(*guards).values(dict(values)).returning(FileRequest)
    return session.scalars(changed, execution_options=AS_IT_IS).one_or_none()


def out_as(row: FileRequest) -> tuple[ColumnElement[bool], ...]:
    """The request, if its parts are out under the same fence as it was seen with."""
    return FileRequest.id == row.id, FileRequest.fence == row.fence, *OUT


def named(request_id: str, number: int) -> tuple[ColumnElement[bool], ...]:
    """One part."""
    return Part.request_id == request_id, Part.number == number


def mine(held: HeldPart) -> tuple[ColumnElement[bool], ...]:
    """One part, if it is still held by whoever holds it here."""
    whose = Part.fence == held.part.fence, Part.leased_by == held.owner
    return *named(held.file_request.id, held.part.number), *whose


def is_out(fence: int) -> ColumnElement[bool]:
    """Whether the parts of a part's request are out, under this fence."""
    same = FileRequest.id == Part.request_id, FileRequest.fence == fence
    return exists(select(literal_column("1")).where(*same, *OUT).correlate(Part))
