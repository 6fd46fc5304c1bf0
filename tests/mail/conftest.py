"""A deployment whose mails go to a real server."""

from __future__ import annotations

from typing import Any

import pytest

from bgtasks.stack import Mailbox


@pytest.fixture
def conf(request: pytest.FixtureRequest, mailbox: Mailbox) -> dict[str, Any]:
    """The mail server, and the settings that a test is parametrised with."""
    return {"bgtasks_smtp_url": mailbox.url, **getattr(request, "param", {})}
