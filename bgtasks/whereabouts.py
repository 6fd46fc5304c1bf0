"""In which stores the files of the file types are."""

from __future__ import annotations

import logging
from typing import Any

from bgtasks import registry, store_urls
from bgtasks.errors import ImproperlyConfigured

logger = logging.getLogger(__name__)


def store_url_of(file_type: Any) -> str | None:
    """Where the next file of a type goes; None: to the deployment's own store. Raises: ImproperlyConfigured.

    :param file_type: None: it is not known in this process.
    """
    url = None if file_type is None else file_type.get_store_url()
    try:
        return None if url is None else store_urls.checked(url)
    except ValueError as fault:
        raise ImproperlyConfigured(f"{type(file_type).__name__}.store_url {fault}") from None


def known() -> list[str | None]:
    """Every store that files may be put into, each once: the deployment's own first, and those of the file types."""
    return list(dict.fromkeys((None, *by_type().values())))


def by_type() -> dict[str, str | None]:
    """Where each file type's next file goes, by its name; without those that can't say it."""
    found = {}
    for name in registry.names():
        try:
            found[name] = store_url_of(registry.get(name)())
        except Exception:  # a user's own method, which knows of no request here
            logger.exception("the store of %s is not known", name)
    return found
