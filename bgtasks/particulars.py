"""What a process says of itself, so that two can be compared: marks instead of addresses and keys.

A mark is a keyed hash. Who does not have the key learns no more from it than from a download link.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from bgtasks import engines, registry, store_urls, whereabouts
from bgtasks.settings import Settings

VERSION = metadata.version("celery-bgtasks")
#: What two processes of one deployment must agree on, under each key that both have.
PLACES = ("database", "server", "store")
PORTS = {"postgresql": 5432}


def of(configured: Settings) -> dict[str, Any]:
    """A process's particulars, as JSON; the time is this machine's, in seconds since 1970."""
    return {
        "version": VERSION,
        "host": socket.gethostname(),
        "time": time.time(),
        "file_types": list(registry.names()),
        # Oldest to newest: the last one signs.
        "keys": [{"key": mark(key, "key"), **_places(configured, key)} for key in configured.default_key],
    }


def mark(key: str, text: str) -> str:
    """A text under a key: 16 hexadecimal digits."""
    return hmac.new(key.encode(), f"bgtasks.particulars:{text}".encode(), hashlib.sha256).hexdigest()[:16]


def is_on_one_machine(configured: Settings) -> bool:
    """Whether the record or the files are on a disk, where other machines don't have them."""
    stores = [url or configured.store_url for url in whereabouts.known()]
    return configured.database_url.startswith("sqlite") or not all(map(store_urls.scheme, stores))


def _places(configured: Settings, key: str) -> dict[str, Any]:
    """The database by its kind and name, its server, and the store: users and passwords may differ.

    And the store of each file type; None: the deployment's own. A type that can't say it is left out.
    """
    url = engines.resolve(make_url(configured.database_url), configured.root)
    kind = url.get_backend_name()
    server = f"{url.host or ''}:{url.port or PORTS.get(kind, '')}"
    texts = f"{kind} {url.database}", server, _where(configured, configured.store_url)
    places = {name: mark(key, text) for name, text in zip(PLACES, texts, strict=True)}
    own = {name: url and mark(key, _where(configured, url)) for name, url in whereabouts.by_type().items()}
    return {**places, "stores": own}


def _where(configured: Settings, store_url: str) -> str:
    return store_url if "://" in store_url else str(Path(configured.path(store_url)))
