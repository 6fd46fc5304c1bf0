"""The parts of a file that many workers write side by side: each is claimed, leased, lost and ended alone.

While they are out, their request waits for no message and is in nobody's hands, so that the sweeps follow the parts
and leave it alone. After a cancel, a part's failure or a retry they are out no more, and whoever writes one hears of it
at the next write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.orm import Session

from bgtasks.claims import Held, HeldPart, PartClaim
from bgtasks.database import later
from bgtasks.errors import ClaimLost
from bgtasks.history import log
from bgtasks.models import FileRequest, Part
from bgtasks.requests import part_writer, writer
from bgtasks.requests.part_sweeping import PartSweeping
from bgtasks.requests.part_writer import AS_IT_IS, Standing, is_out, named, out_as, set_part, set_request
from bgtasks.requests.writer import NEXT_FENCE, UNLEASED, failed
from bgtasks.states import EventKind, State

#: The part is kept back until another one is done.
_KEPT_BACK = Part.dispatch_at.is_(None), Part.leased_by.is_(None), Part.object_key.is_(None)


class TooMany(Exception):
    """All parts together have more rows than they may; the argument says how many."""


class Parting(PartSweeping):
    """The record's side of parts. Every method is one transaction."""

    def plan(self, held: Held, ranges: Sequence[Mapping[str, Any]]) -> None:
        """Note what the parts are, within the step that plans them. Raises: ClaimLost.

        What an earlier try, or the request's earlier life, has planned is gone.
        """
        request_id = held.file_request.id
        with self._database.writing() as session:
            if set_request(session, {"parts_done": 0}, FileRequest.id == request_id, *writer.mine(held)) is None:
                raise ClaimLost(request_id)
            session.execute(delete(Part).where(Part.request_id == request_id), execution_options=AS_IT_IS)
            session.execute(
                insert(Part),
                [{"request_id": request_id, "number": number, "range": dict(one)} for number, one in enumerate(ranges)],
            )

    def fan_out(self, held: Held, columns: Mapping[str, Any], most: int | None) -> Standing:
        """End the step that leaves the writing to the parts. Raises: ClaimLost.

        :param columns: more to set on the request.
        :param most: how many parts may be out at once; None: all of them.
        """
        request_id = held.file_request.id
        out = {**UNLEASED, "dispatch_at": None, "dispatches": 0, "parts_done": 0, **columns}
        guards = FileRequest.id == request_id, *writer.mine(held), FileRequest.state == State.RUNNING
        with self._database.writing() as session:
            row = set_request(session, out, *guards)
            if row is not None:
                log(session, row, EventKind.PARTS, step=held.step, detail=str(row.parts_total))
                first = () if most is None else (Part.number < max(most, 1),)
                return Standing(row, self._release(session, request_id, *_KEPT_BACK, *first))
        # The sweep publishes the messages.
        return Standing(self._in_doubt(request_id, fence=held.file_request.fence, leased_by=None, dispatch_at=None))

    def claim(self, claim: PartClaim, owner: str) -> HeldPart:
        """Take the lease of a part. Raises: ClaimLost, if it is done, in other hands, or not wanted any more.

        :param owner: who works: told apart from every other delivery, also of the same message.
        """
        request_id = claim.request.request_id
        row = self.get(request_id)
        if row is None or row.fence != claim.request.fence:
            raise ClaimLost(request_id)
        free = Part.fence == claim.fence, Part.leased_by.is_(None), Part.dispatch_at.is_not(None)
        taken = {"fence": Part.fence + 1, "leased_by": owner, "leased_until": self._lease()}
        waits_not = {"dispatch_at": None, "published_at": None}
        part = self._set_part({**taken, **waits_not}, *named(request_id, claim.number), *free, is_out(row.fence))
        part = part or self._part_in_doubt(request_id, claim.number, fence=claim.fence + 1, leased_by=owner)
        return HeldPart(row, part, owner)

    def renew(self, held: HeldPart) -> bool:
        """The heartbeat. False: it is not ours any more, or nobody wants it."""
        return self._write(held, {"leased_until": self._lease()}) is not None

    def progress(self, held: HeldPart, **values: Any) -> None:
        """Note how many rows were written. Raises: ClaimLost, after a cancel or the failure of another part."""
        noted = {"rows": values["rows_written"]} if "rows_written" in values else {"fence": held.part.fence}
        if self._write(held, noted) is None:
            raise ClaimLost(held.file_request.id)

    def rows_written(self, request_id: str) -> int:
        """By all parts together, so far."""
        with self._database.reading() as session:
            return _rows(session, request_id)

    def finish(self, held: HeldPart, outcome: Mapping[str, Any], most: int | None = None) -> Standing:
        """End a part, in one transaction with what the request counts; with the last one its step ends.

        :param outcome: ``object_key``, ``size``, ``sha256`` and ``rows`` of the part.
        :param most: rows that all parts together may have; None: any number.
        Raises: ClaimLost; TooMany, and nothing is written.
        """
        row = held.file_request
        done = {**UNLEASED, "dispatches": 0, **outcome}
        with self._database.writing() as session:
            # The request first: its row lock has parts end one after the other, each with a number of its own.
            counted = set_request(session, {"parts_done": FileRequest.parts_done + 1}, *out_as(row))
            if counted is not None and set_part(session, done, *part_writer.mine(held)) is not None:
                return self._went_on(session, counted, held, most)
            session.rollback()
        self._part_in_doubt(row.id, held.part.number, object_key=held.object_key)
        return Standing(self._in_doubt(row.id, fence=row.fence))

    def _went_on(self, session: Session, row: FileRequest, held: HeldPart, most: int | None) -> Standing:
        """What follows from a part's end, in its transaction."""
        rows = _rows(session, row.id)
        if most is not None and rows > most:
            raise TooMany(rows)
        total, done = row.parts_total or 0, row.parts_done or 0
        log(session, row, EventKind.PART, step=held.step, detail=f"{held.part.number + 1}/{total}")
        if done < total:
            turn = select(func.min(Part.number)).where(Part.request_id == row.id, *_KEPT_BACK).scalar_subquery()
            return Standing(row, self._release(session, row.id, Part.number == turn))
        ended = {"step": held.step, "rows_written": rows, "dispatches": 0, **self._waiting(True)}
        waiting = set_request(session, ended, FileRequest.id == row.id)  # its row lock is ours
        log(session, row, EventKind.STEP, step=held.step)
        return Standing(waiting or row)

    def fail(self, held: HeldPart, code: str, message: str, *, waits: bool) -> FileRequest:
        """End a request one of whose parts can't be written: the others hear of it. Raises: ClaimLost.

        :param waits: whether its requester is to be told.
        """
        seen = held.file_request
        ended = {**failed(code, message), **NEXT_FENCE, **self._waiting(waits)}
        with self._database.writing() as session:
            row = set_request(session, ended, *out_as(seen))
            if row is not None and session.scalar(select(Part.number).where(*part_writer.mine(held))) is not None:
                log(session, row, EventKind.FAILED, step=held.step, detail=code)
                return row
            session.rollback()  # it is another's by now, who may well write it
        return self._in_doubt(seen.id, fence=seen.fence + 1, state=State.FAILED, error_code=code)

    def hand_back(self, held: HeldPart, delay: float, reason: str | None = None) -> Part | None:
        """Give up a part that somebody else shall write; no attempt is counted. None: it was lost already.

        :param delay: seconds until its message is published again.
        :param reason: for the history.
        """
        again = Part.dispatches + 1 if delay else 0
        freed = {"fence": Part.fence + 1, **UNLEASED, "dispatch_at": later(delay), "dispatches": again}
        with self._database.writing() as session:
            part = set_part(session, freed, *part_writer.mine(held), is_out(held.file_request.fence))
            if part is not None:
                entry = {"step": held.step, "detail": f"{held.about}{reason}", "counted": reason}
                log(session, held.file_request, EventKind.HANDED_BACK, **entry)
        return part

    def lose(self, held: HeldPart, queue: str | None = None) -> FileRequest | None:
        """There is no memory for it here: it counts as if its worker had died. None: it was lost already."""
        taken = self.recover(held.file_request, held.part, held.owner, queue)
        return None if taken is None else taken.file_request

    def of(self, request_id: str) -> list[Part]:
        """The parts of a request, in the file's order."""
        with self._database.reading() as session:
            return list(session.scalars(select(Part).where(Part.request_id == request_id).order_by(Part.number)))

    def _write(self, held: HeldPart, values: Mapping[str, Any]) -> Part | None:
        return self._set_part(values, *part_writer.mine(held), is_out(held.file_request.fence))

    def _lease(self) -> ColumnElement[Any]:
        return later(float(self._settings.lease))

    def _release(self, session: Session, request_id: str, *which: ColumnElement[bool]) -> list[Part]:
        """Let parts wait for a worker; their messages are the caller's to publish."""
        released = update(Part).where(Part.request_id == request_id, *which).values(self._is_published())
        found = session.scalars(released.returning(Part), execution_options=AS_IT_IS)
        return sorted(found, key=lambda part: part.number)

    def _part_in_doubt(self, request_id: str, number: int, **written: Any) -> Part:
        """The part, if an earlier try of the same write made it so. Raises: ClaimLost."""
        with self._database.reading() as session:
            part = session.get(Part, (request_id, number))
        if part is None or any(getattr(part, column) != value for column, value in written.items()):
            raise ClaimLost(request_id)
        return part


def _rows(session: Session, request_id: str) -> int:
    return int(session.scalar(select(func.sum(Part.rows)).where(Part.request_id == request_id)) or 0)
