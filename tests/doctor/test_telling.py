"""Whether the channels that file types name can be had, and their receivers reached."""

from __future__ import annotations

import base64
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from celery import Celery

from bgtasks import registry
from bgtasks.doctor import Level
from bgtasks.notifiers import Message, WebhookNotifier
from bgtasks.stack import HOST, free_port
from tests.doctor.conftest import Examine
from tests.support.file_types import Numbers

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes....").decode()
HIDDEN = "/hooks/T0KEN12345"


def told_by(*notifiers: Any) -> None:
    """The test's file type names these."""
    registry._classes.pop("numbers", None)
    registry.register(type("Telling", (Numbers,), {"file_type": "numbers", "notifiers": notifiers}))


@pytest.fixture
def receiver() -> Any:
    """Something that takes connections; what it was sent is in its buffer."""
    with socket.create_server((HOST, 0)) as listening:
        listening.settimeout(5)
        yield listening


def test_mails_have_a_check_of_their_own(examine: Examine, app: Celery) -> None:
    """And what somebody else has made is taken as it is."""

    class Mine:
        channel, personal = "mine", False

        def send(self, message: Message, recipient: str, message_id: str) -> None:
            """Nobody asks for it."""

    told_by("email", Mine())
    assert examine("notifiers").said == "ok no file type has any but mails. → "


@pytest.mark.parametrize("name", ["webhook", "apprise"])
def test_a_notifier_that_is_not_configured(examine: Examine, name: str) -> None:
    """Its type names it, and each notification would fail."""
    told_by("email", name)
    told = examine("notifiers")
    assert (told.level, f"numbers tells by {name}: bgtasks_{name}_" in told.said) == (Level.FAULT, True), told.said
    assert f"mend bgtasks_{name}_url" in told.said


def test_a_webhook_is_reached_and_sent_nothing(examine: Examine, receiver: socket.socket) -> None:
    """Where it is, by the name in the settings and as one of a type's own."""
    url = f"http://{HOST}:{receiver.getsockname()[1]}{HIDDEN}"
    own = WebhookNotifier(url, SECRET, name="own", allow_http=True, allow_private=True)
    told_by("webhook", own)
    options = {"bgtasks_webhook_secret": SECRET, "bgtasks_webhook_allow_http": True, "bgtasks_webhook_url": url}
    told = examine("notifiers", bgtasks_webhook_allow_private=True, **options)
    assert told.said.splitlines() == [
        "ok webhook can be told something. → ",
        "ok webhook:own can be told something. → ",
    ]
    for _ in told.findings:
        line, _ = receiver.accept()
        with line:
            assert line.recv(1) == b""
    refused = examine("notifiers", **options)
    assert (refused.findings[0].level, "not a public one" in refused.said) == (Level.FAULT, True)


def test_a_webhook_that_is_away(examine: Examine) -> None:
    """What the network says, and not the URL, which may be a secret."""
    url = f"https://{HOST}:{free_port()}{HIDDEN}"
    told_by("webhook")
    options: dict[str, Any] = {"bgtasks_webhook_secret": SECRET, "bgtasks_webhook_url": url}
    told = examine("notifiers", bgtasks_webhook_allow_private=True, **options)
    assert (told.level, "ConnectionRefusedError" in told.said) == (Level.FAULT, True)
    assert HIDDEN not in told.said
    assert SECRET not in told.said


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what apprise imports
@pytest.mark.parametrize(
    ("urls", "levels"),
    [(["json://localhost/T0KEN12345"], [Level.OK]), (["json://localhost", "nothing://T0KEN12345"], ["ok", "fault"])],
)
def test_services_that_apprise_knows(examine: Examine, urls: Sequence[str], levels: Sequence[str]) -> None:
    """Each by its own URL, which is not shown."""
    told_by("apprise")
    told = examine("notifiers", bgtasks_apprise_urls=urls)
    assert [one.level for one in told.findings] == levels, told.said
    assert "T0KEN12345" not in told.said
