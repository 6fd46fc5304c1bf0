"""What nobody is shown of a configuration: secrets, and what recurring exports ask for.

Celery prints an app's configuration in ``celery report`` and ``celery inspect conf``, Flower on the page of a worker,
and beat its schedule in its log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from celery.app import utils
from kombu.utils.url import maybe_sanitize_url

from bgtasks.settings import PREFIX, Settings
from bgtasks.web_urls import SHOWN

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
    return {name: without_password(value) if _is_url(name) else value for name, value in masked.items()}


def _is_secret(name: Any) -> bool:
    """Whether a setting is one of our secrets; where names have a prefix (``CELERY_BGTASKS_SMTP_URL``) too."""
    return _ours(name) in SECRETS


def _is_url(name: Any) -> bool:
    """Whether a setting is a URL without secrets; who starts nothing is not told that it must not have a password."""
    return _ours(name) in URLS


def without_password(urls: Any) -> Any:
    """One, or several with semicolons between them, as a broker's may be; what can't be read is hidden."""
    try:
        return ";".join(map(maybe_sanitize_url, urls.split(";"))) if isinstance(urls, str) else urls
    except ValueError:
        return MASK


def _ours(name: Any) -> str:
    _, prefix, rest = str(name).lower().partition(PREFIX)
    return prefix + rest


def _is_no_schedule(record: logging.LogRecord) -> bool:
    """Whether it is anything else: at the level DEBUG beat logs its whole schedule, with all arguments."""
    return not str(record.msg).startswith("Current schedule")


def hide_secrets() -> None:
    """Have Celery hide them wherever it shows a configuration."""
    utils.filter_hidden_settings = _censored
    logging.getLogger("celery.beat").addFilter(_is_no_schedule)
