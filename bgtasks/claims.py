"""The claim: the right to take a request's next step, and all that steps hand on."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bgtasks.errors import InvalidRequestId
from bgtasks.models import FileRequest


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
    def object_key(self) -> str:
        """Where this step may put an object: nobody else ever writes there."""
        return f"{self.file_request.id}/{self.file_request.fence}"
