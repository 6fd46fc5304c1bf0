"""The settings of webhooks and apprise: what is wrong is said at the start, and secrets are shown nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bgtasks import settings
from bgtasks.errors import ImproperlyConfigured
from tests.conftest import KEY
from tests.telling.conftest import SECRET


def read(environ: dict[str, str] | None = None, **given: Any) -> settings.Settings:
    """These settings, and the one that each deployment needs."""
    named = {f"bgtasks_{name}": value for name, value in {"default_key": KEY, **given}.items()}
    return settings.read(named, environ or {}, Path())


def test_one_or_several() -> None:
    """A text, a list, or a list in JSON in the environment."""
    several = {"BGTASKS_WEBHOOK_SECRET": f'["{SECRET}", "{SECRET}"]', "BGTASKS_APPRISE_URLS": "slack://a"}
    assert read(webhook_secret=SECRET).webhook_secret == (SECRET,)
    assert read(apprise_urls=["slack://a", "mailto://b"]).apprise_urls == ("slack://a", "mailto://b")
    found = read(several)
    assert (found.webhook_secret, found.apprise_urls) == ((SECRET, SECRET), ("slack://a",))
    assert (read().webhook_secret, read().apprise_urls, read().webhook_url) == ((), (), None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"webhook_url": "http://hooks.example.com/secret"}, "bgtasks_webhook_url: .*must begin with https://"),
        ({"webhook_url": "hooks.example.com/secret"}, "bgtasks_webhook_url: .*must begin with https://"),
        ({"webhook_secret": "secret"}, "bgtasks_webhook_secret: .*must look like whsec_"),
        ({"webhook_secret": [SECRET, "whsec_secret"]}, "bgtasks_webhook_secret: .*must look like whsec_"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], said: str) -> None:
    """With the field and the remedy, and without the value."""
    with pytest.raises(ImproperlyConfigured, match=said) as refused:
        read(**given)
    assert "/secret" not in str(refused.value)
    assert "whsec_secret" not in str(refused.value)


def test_in_the_clear_where_that_is_said() -> None:
    """For a receiver on the same machine, for example."""
    assert read(webhook_url="http://localhost:9000/", webhook_allow_http=True).webhook_url == "http://localhost:9000/"


def test_secrets_are_not_shown() -> None:
    """Neither is what may have one in it."""
    shown = repr(read(webhook_url="https://h/secret", webhook_secret=SECRET, apprise_urls="slack://secret"))
    assert SECRET not in shown
    assert "secret" not in shown.replace("webhook_secret", "")
