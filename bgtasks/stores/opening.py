"""Opening a store: on a disk its folder is made, and a bucket is not asked for anything yet.

A bucket that takes connections and says nothing must not hold a step's slot for long, and a slow line must not break an
upload. One limit can't do both: obstore's ``read_timeout``, which notices silence, counts while a body is being sent,
too. So a bucket is opened twice, with connections of their own.
"""

from __future__ import annotations

import os
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

#: Seconds that a bucket may be silent when it is asked for something, or in the midst of what it sends.
SILENCE = 10
#: Seconds that one request may take in all, such as a part on its way: four of 8 MiB at once need 2.3 Mbit/s.
TRANSFER = 120
#: obstore's options for these, and what ``bgtasks_store_options`` says instead.
ASKING = {"read_timeout": f"{SILENCE}s", "timeout": f"{TRANSFER}s"}
SENDING = {"timeout": f"{TRANSFER}s"}
#: The same for somebody who is waiting, whatever they say.
HASTILY = {"connect_timeout": "2s", "read_timeout": "2s", "timeout": "4s"}

#: How the environment variables begin that are options of a bucket.
BEGINNINGS = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}

#: Characters of what may be a secret, or a part of one that is worth hiding: shorter ones are in many words.
LEAST_SECRET = 6


def opened_folder(folder: Path) -> Any:
    """obstore's store on a disk. Raises: TransientError."""
    with translated():
        return LocalStore(folder, mkdir=True)


def opened_bucket(url: str, options: Mapping[str, Any], *, sends: bool = False, is_patient: bool = True) -> Any:
    """obstore's store.

    :param sends: whether it is for what is large, and therefore takes its time.
    :param is_patient: whether it may take as long as a worker waits. False: one try of two seconds.
    Raises: ImproperlyConfigured, in obstore's words without any option's value.
    """
    given = {name: value for name, value in options.items() if name in store_urls.CLIENT}
    config: Any = {name: value for name, value in options.items() if name not in given}
    client: Any = {**(SENDING if sends else ASKING), **_of_environment(url), **given}
    if sends:
        client.pop("read_timeout", None)
    if not is_patient:
        client |= HASTILY
    retries: Any = RETRIES if is_patient else {"max_retries": 0}
    try:
        return from_url(url, config=config, client_options=client, retry_config=retries)
    except (BaseError, ValueError, TypeError) as error:
        # Not `from error`: its evidence, which a log would show, has the values too.
        raise ImproperlyConfigured(f"the store {url} can't be opened: {_said(error, options)}") from None


def _of_environment(url: str) -> dict[str, str]:
    """The options of connections there (``AWS_ALLOW_HTTP``): obstore reads them only where it is told of none."""
    beginning = BEGINNINGS.get(store_urls.scheme(url), "")
    names = {f"{beginning}{name.upper()}": name for name in store_urls.CLIENT}
    return {names[name]: text for name, text in os.environ.items() if name in names and text}


def _said(error: Exception, options: Mapping[str, Any]) -> str:
    """An error's first line, with the names of the options that were given in place of their values."""
    said = str(error).strip().partition("\n")[0].rstrip(". ")
    for name, value in sorted(options.items(), key=lambda option: -len(str(option[1]))):
        if isinstance(value, str) and len(value) >= LEAST_SECRET:
            said = said.replace(value, f"<{name}>")
    return f"{said} (bgtasks_store_options: {', '.join(sorted(options))})" if options else said
