"""The response that carries a finished file."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from urllib.parse import quote

from werkzeug.http import dump_options_header, quote_etag
from werkzeug.wrappers import Response

from bgtasks import deployment, links
from bgtasks.errors import ObjectMissing
from bgtasks.filenames import safe
from bgtasks.models import FileRequest

#: What needs no percent sign in an extended parameter, beside letters and digits (RFC 8187, attr-char).
ATTR_CHAR = "!#$&+-.^_`|~"
#: A file is its requester's business: no cache keeps it, no page is told where it came from,
#: and no browser guesses that it is a page.
HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def response(
    file_request: FileRequest,
    raise_on_missing: type[Exception] | Exception,
    default_content_type: str,
    on_complete: Callable[[], None] | None,
) -> Response:
    """The file, streamed or handed over. ``toolbox.serve`` has the parameters."""
    if file_request.object_key is None:
        raise raise_on_missing
    try:
        chunks, more = _body(file_request.object_key, file_request.size or 0)
    except ObjectMissing:
        raise raise_on_missing from None
    made = Response(_counted(chunks, on_complete), headers=HEADERS | more, direct_passthrough=True)
    made.content_type = file_request.content_type or default_content_type
    made.headers["Content-Disposition"] = disposition(file_request.filename, links.is_attachment(file_request))
    if file_request.sha256:
        made.headers["ETag"] = quote_etag(file_request.sha256)
    return made


def _body(object_key: str, size: int) -> tuple[Iterator[bytes], dict[str, str]]:
    """The bytes and their number; or no bytes, and where the web server in front finds them on its disk."""
    parts = deployment.current()
    if parts.settings.sendfile and parts.store.local_path(object_key):
        parts.store.size(object_key)  # a file that is gone must be our 404, and not the web server's
        return iter(()), {"X-Accel-Redirect": f"{parts.settings.sendfile.rstrip('/')}/{object_key}"}
    return parts.store.read(object_key), {"Content-Length": str(size)}


def disposition(filename: str, attachment: bool = True) -> str:
    """The Content-Disposition of a file (RFC 6266): plain for old programs, UTF-8 beside it for the others."""
    named = safe(filename)
    plain = unicodedata.normalize("NFKD", named).encode("ascii", "ignore").decode()
    names = {"filename": safe(f"file{plain}" if plain.startswith(".") else plain)}
    if plain != named or "%" in plain:  # some programs decode a percent sign in the plain form (RFC 6266, D)
        names["filename*"] = f"UTF-8''{quote(named, safe=ATTR_CHAR)}"
    return dump_options_header("attachment" if attachment else "inline", names)


def _counted(chunks: Iterator[bytes], on_complete: Callable[[], None] | None) -> Iterator[bytes]:
    yield from chunks
    if on_complete is not None:
        on_complete()
