"""What is told, and how anything must look that tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Message:
    """What is said, in every form that a channel may want."""

    subject: str
    text: str
    html: str | None
    sender: str


class Notifier(Protocol):
    """A way to tell somebody."""

    #: The channel's name in the ledger.
    channel: str

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        """Send one message. Raises: TransientError, if later may work; NotificationRefused, if it won't."""
