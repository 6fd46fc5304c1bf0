"""The claim: the right to take a request's next step, and all that steps hand on."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bgtasks.errors import InvalidRequestId
from bgtasks.models import FileRequest, Part
from bgtasks.object_keys import ANEW

#: The step that many workers may do, each with a part of the file.
DIVIDED = "write_bytes"


def request_id(text: object) -> str:
    """A request's id in its one canonical spelling. Raises: InvalidRequestId."""
    try:
        return str(uuid.UUID(str(text)))
    except ValueError:
        raise InvalidRequestId from None


@dataclass(frozen=True)
class Claim:
    """``(request_id, file_type, fence)``, as it travels from step to step.

    Its ``repr`` is all that a log, an event or Flower shows of a step's arguments and result.
    """

    request_id: str
    file_type: str
    fence: int

    @classmethod
    def of(cls, file_request: FileRequest) -> Claim:
        """The claim that whoever sees the row like this may make."""
        return cls(file_request.id, file_request.file_type, file_request.fence)

    @classmethod
    def parse(cls, message: Claim | Mapping[str, Any]) -> Claim:
        """A claim as it comes out of a message. Raises: InvalidRequestId."""
        if isinstance(message, Claim):
            return message
        return cls(request_id(message["request_id"]), str(message["file_type"]), int(message["fence"]))

    def __json__(self) -> dict[str, Any]:
        # kombu's encoder calls this: the claim travels as plain JSON and is still shown by its repr.
        return {"request_id": self.request_id, "file_type": self.file_type, "fence": self.fence}

    def __repr__(self) -> str:
        return f"<{self.file_type or 'file'} {self.request_id[:8]} #{self.fence}>"


@dataclass(frozen=True)
class Held:
    """A claim that was granted: the step that holds the lease writes under this fence."""

    file_request: FileRequest  #: the row as the claim left it
    step: str  #: the step that is being done
    owner: str  #: the row's ``leased_by``

    @property
    def claim(self) -> Claim:
        """What the next step is handed."""
        return Claim.of(self.file_request)

    @property
    def dispatches(self) -> int:
        """How many times it was published again, or handed back, since somebody has come on with it."""
        return self.file_request.dispatches

    @property
    def object_key(self) -> str:
        """Where this step may put an object: nobody else ever writes there."""
        own = f"{self.file_request.id}/{self.file_request.fence}"
        # Where the step has joined a file's parts, that is there: what is made of it must not take its place before
        # the step has ended, or whoever does it once more would make it of its own outcome.
        return own if self.file_request.object_key != own else f"{own}{ANEW}"


@dataclass(frozen=True)
class PartClaim:
    """The right to write one part of a request's file, while its parts are out."""

    request: Claim  #: with the fence under which the parts are out
    number: int  #: of the part, from 0
    fence: int  #: of the part

    @property
    def request_id(self) -> str:
        """Whose part it is: whoever looks at a message finds it where a step's has it."""
        return self.request.request_id

    @classmethod
    def of(cls, file_request: FileRequest, part: Part) -> PartClaim:
        """The claim that whoever sees the two rows like this may make."""
        return cls(Claim.of(file_request), part.number, part.fence)

    @classmethod
    def parse(cls, message: PartClaim | Mapping[str, Any]) -> PartClaim:
        """A claim as it comes out of a message. Raises: InvalidRequestId."""
        if isinstance(message, PartClaim):
            return message
        return cls(Claim.parse(message), int(message["part"]), int(message["part_fence"]))

    def __json__(self) -> dict[str, Any]:
        return {**self.request.__json__(), "part": self.number, "part_fence": self.fence}

    def __repr__(self) -> str:
        return f"{repr(self.request)[:-1]} part {self.number + 1}>"


def parsed(message: Any) -> Claim | PartClaim:
    """A claim of either kind as it comes out of a message. Raises: InvalidRequestId."""
    if isinstance(message, Claim | PartClaim):
        return message
    return PartClaim.parse(message) if "part" in message else Claim.parse(message)


def about(number: int) -> str:
    """How the history begins what it tells of one part alone."""
    return f"part {number + 1}: "


@dataclass(frozen=True)
class HeldPart:
    """The claim of a part that was granted."""

    file_request: FileRequest  #: the row as it was then
    part: Part  #: as the claim left it
    owner: str  #: the part's ``leased_by``
    step: str = DIVIDED  #: the step that the part is of

    @property
    def claim(self) -> PartClaim:
        """For logs."""
        return PartClaim.of(self.file_request, self.part)

    @property
    def about(self) -> str:
        """How the history begins what it tells of this part alone."""
        return about(self.part.number)

    @property
    def dispatches(self) -> int:
        """How many times it was published again, or handed back, since somebody has come on with it."""
        return self.part.dispatches

    @property
    def object_key(self) -> str:
        """Where this part's bytes may be put: nobody else ever writes there."""
        return f"{self.file_request.id}/{self.file_request.fence}.{self.part.number}.{self.part.fence}"
