"""The notifier that hands things to apprise, with its target ``json://`` and a server on this machine."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from bgtasks.errors import ImproperlyConfigured, TransientError
from bgtasks.notifiers import AppriseNotifier, Message
from bgtasks.notifiers import apprise as module
from tests.telling.receivers import Receiver

pytestmark = pytest.mark.usefixtures("apprise")

READY = Message(
    "Your file is ready", "Download it here: https://files.example.com/files/token", None, "", event="ready",
    facts={"status_url": "https://files.example.com/requests/1"}, link="https://files.example.com/files/token",
)  # fmt: skip
FAILED = Message("There is no file", "There were too many rows.", None, "", event="failed")


def said(plain: Receiver) -> tuple[str, str]:
    """The title and the text that the service was given."""
    [received] = plain.received
    body = json.loads(received.body)
    return body["title"], body["message"]


@pytest.mark.parametrize(
    ("message", "options", "text"),
    [
        (READY, {}, "https://files.example.com/requests/1"),
        (READY, {"with_link": True}, READY.text),
        (FAILED, {}, FAILED.text),
    ],
)
def test_a_service_is_told(plain: Receiver, message: Message, options: dict[str, Any], text: str) -> None:
    """Title and text; of a finished file the status page, and the download link only where that is asked for."""
    AppriseNotifier(f"json://user:secret@127.0.0.1:{plain.port}/room", **options).send(message, "", "<1@x>")
    assert said(plain) == (message.subject, text)


def test_what_is_not_taken_is_tried_again(plain: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """Apprise does not say why; and nothing of the URL is logged, whatever the level."""
    plain.statuses = [500]
    caplog.set_level(logging.DEBUG)
    with pytest.raises(TransientError) as refused:
        AppriseNotifier(f"json://user:secret@127.0.0.1:{plain.port}/token").send(FAILED, "", "<1@x>")
    assert plain.received
    assert not [word for word in ("secret", "token", str(plain.port)) if word in caplog.text + str(refused.value)]


@pytest.mark.parametrize("url", ["nothing://secret", "slack://secret"])
def test_a_url_that_apprise_does_not_know(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is said which channel's it is, and not what it is."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ImproperlyConfigured, match=f"apprise:{url.partition(':')[0]}") as refused:
        AppriseNotifier(url).send(FAILED, "", "<1@x>")
    assert "secret" not in caplog.text + str(refused.value)


def test_nothing_is_logged_while_another_thread_still_sends(caplog: pytest.LogCaptureFixture) -> None:
    """Who has finished first lets nobody speak before the last one has; and then it is as it was."""
    first, last = module._in_silence(), module._in_silence()
    first.__enter__()
    last.__enter__()
    first.__exit__(None, None, None)
    logging.getLogger("apprise").error("secret")
    last.__exit__(None, None, None)
    logging.getLogger("apprise").error("afterwards")
    assert caplog.messages == ["afterwards"]


def test_several_urls_in_one_text_are_refused(plain: Receiver) -> None:
    """As one channel they would all be told again whenever one of them is away."""
    url = f"json://127.0.0.1:{plain.port}/token"
    with pytest.raises(ImproperlyConfigured, match="list them one by one") as refused:
        AppriseNotifier(f"{url}, {url}").send(FAILED, "", "<1@x>")
    assert plain.received == []
    assert "token" not in str(refused.value)


@pytest.mark.parametrize("url", ["", "slack", "://x", "slack://"])
def test_what_is_no_url(url: str) -> None:
    """It is said at once."""
    with pytest.raises(ImproperlyConfigured, match="must look like slack://"):
        AppriseNotifier(url)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said when it is needed."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'celery-bgtasks\[apprise\]'"):
        AppriseNotifier("slack://secret").send(FAILED, "", "<1@x>")


def test_a_channel_is_named_without_its_secrets() -> None:
    """By the service, or as it was named."""
    assert AppriseNotifier("Slack://secret").channel == "apprise:slack"
    assert AppriseNotifier("slack://secret", name="ops").channel == "apprise:ops"
    assert "secret" not in repr(AppriseNotifier("slack://secret"))
