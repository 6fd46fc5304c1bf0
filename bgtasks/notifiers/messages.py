"""What is told, and how anything must look that tells it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class Occasion(StrEnum):
    """What somebody may be told of: the events of the ledger."""

    READY = "ready"  #: the file may be downloaded
    FAILED = "failed"  #: there will be no file
    EXPIRING = "expiring"  #: nobody has downloaded the file, and it is removed soon
    CANCELLED = "cancelled"  #: the request was given up


@dataclass(frozen=True)
class Attachment:
    """The file itself, for a mail that may bring it."""

    filename: str
    content_type: str
    #: The bytes, read now and all of them. Raises: ObjectMissing, TransientError.
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Message:
    """What is said, in every form that a channel may want. The texts are in the requester's language."""

    subject: str
    text: str
    html: str | None
    #: Who mails are from; ``""``: the deployment has not said.
    sender: str
    #: What has happened: one of ``Occasion``.
    event: str = ""
    #: When it happened.
    at: datetime | None = None
    #: The request as JSON has it, for programs: ``id``, ``file_type``, ``state``, ``filename``, ``status_url`` …
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: The download link, which the texts have too. Whoever holds it may have the file, if its type is for anybody.
    link: str | None = None
    attachment: Attachment | None = None


class Notifier(Protocol):
    """A way to tell somebody.

    Two more attributes may be there. ``personal = False``: it addresses nobody in particular, like a webhook or a chat
    room, and is told of each event once, with ``""`` for the recipient. ``events``: the ``Occasion`` that it wants to
    hear of, where these are not all.
    """

    #: The channel's name in the ledger: no secret, and the same after a restart.
    channel: str

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        """Send one message.

        :param message: ``message.event`` says what has happened.
        :param message_id: in the form of a mail's Message-ID, and the same on each try.
        Raises: TransientError, if later may work: it is tried again, and not before its ``retry_after``;
        NotificationRefused, if it won't: the ledger keeps its ``reason``, a short code, and it is not tried again.
        """
