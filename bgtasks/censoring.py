"""What nobody is shown of a configuration: secrets, and what recurring exports ask for.

Celery prints an app's configuration in ``celery report`` and ``celery inspect conf``, and Flower on the page of a
worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery.app import utils
from kombu.utils.url import maybe_sanitize_url

from bgtasks.settings import PREFIX, SHOWN, Settings

MASK = "*" * 8
#: Celery itself hides what is called a key, a password or a database, and knows nothing of URLs that have a password.
SECRETS = frozenset(PREFIX + name for name, field in Settings.model_fields.items() if not field.repr)
URLS = frozenset(PREFIX + name for name in SHOWN)
#: Whose criteria and requester are nobody's business.
ASKING = "bgtasks.request_file"

_by_celery = utils.filter_hidden_settings


def _censored(conf: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it may be shown, or a part of it: Celery calls this for each mapping in it, too."""
    hidden = {"args", "kwargs"} if conf.get("task") == ASKING else set()
    shown = _by_celery(dict(conf)).items()
    masked = {name: MASK if value and (name in hidden or _is_secret(name)) else value for name, value in shown}
    return {name: maybe_sanitize_url(value) if _is_url(name) else value for name, value in masked.items()}


def _is_secret(name: Any) -> bool:
    """Whether a setting is one of our secrets; where names have a prefix (``CELERY_BGTASKS_SMTP_URL``) too."""
    return _ours(name) in SECRETS


def _is_url(name: Any) -> bool:
    """Whether a setting is a URL without secrets; who starts nothing is not told that it must not have a password."""
    return _ours(name) in URLS


def _ours(name: Any) -> str:
    _, prefix, rest = str(name).lower().partition(PREFIX)
    return prefix + rest


def hide_secrets() -> None:
    """Have Celery hide them wherever it shows a configuration."""
    utils.filter_hidden_settings = _censored
