"""Opening a store: on a disk its folder is made, and a bucket is not asked for anything yet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from bgtasks import store_urls
from bgtasks.errors import ImproperlyConfigured
from bgtasks.stores.translating import translated

#: How long a bucket is tried that does not answer: a step that waits for it holds a slot.
RETRIES: Any = {"retry_timeout": timedelta(seconds=5)}

#: Characters of what may be a secret, or a part of one that is worth hiding: shorter ones are in many words.
LEAST_SECRET = 6


def opened(url: str, folder: Path | None, options: Mapping[str, Any]) -> Any:
    """obstore's store.

    Raises: ImproperlyConfigured, for a bucket, in obstore's words without any option's value; TransientError.
    """
    if folder is not None:
        with translated():
            return LocalStore(folder, mkdir=True)
    client: Any = {name: value for name, value in options.items() if name in store_urls.CLIENT}
    config: Any = {name: value for name, value in options.items() if name not in client}
    try:
        return from_url(url, config=config, client_options=client or None, retry_config=RETRIES)
    except (BaseError, ValueError, TypeError) as error:
        # Not `from error`: its evidence, which a log would show, has the values too.
        raise ImproperlyConfigured(f"the store {url} can't be opened: {_said(error, options)}") from None


def _said(error: Exception, options: Mapping[str, Any]) -> str:
    """An error's first line, with the names of the options that were given in place of their values."""
    said = str(error).strip().partition("\n")[0].rstrip(". ")
    for name, value in sorted(options.items(), key=lambda option: -len(str(option[1]))):
        if isinstance(value, str) and len(value) >= LEAST_SECRET:
            said = said.replace(value, f"<{name}>")
    return f"{said} (bgtasks_store_options: {', '.join(sorted(options))})" if options else said
