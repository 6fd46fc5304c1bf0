"""Who is asking. Identity comes from the server, never from a header that a client can set."""

from __future__ import annotations

from typing import Any

from bgtasks import settings


def remote_user(environ: dict[str, Any]) -> str | None:
    """The user that the web server or a middleware has authenticated (RFC 3875, 4.1.11)."""
    return environ.get("REMOTE_USER") or None


#: Where an adapter of another framework (``contrib``) says who is asking: no header can set it.
REQUESTER = "bgtasks.requester"
#: Where it says where that requester is told, for a request that is made now.
EMAIL = "bgtasks.requester_email"


def requester(environ: dict[str, Any]) -> str | None:
    """Who asks, as ``bgtasks_identify`` or the host application says; None: nobody known. An empty name is nobody's."""
    known = environ[REQUESTER] if REQUESTER in environ else settings.current().load("identify")(environ)
    return None if known is None or known is False else str(known) or None
