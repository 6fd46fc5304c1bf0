"""The response that carries a finished file."""

from __future__ import annotations

import base64
import functools
import logging
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from werkzeug.http import dump_options_header
from werkzeug.wrappers import Request, Response

from bgtasks import bodies, deployment, links, presigning, ranges
from bgtasks.errors import ObjectMissing, RangeNotSatisfiable
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

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Download:
    """One answer that brings a finished file."""

    file_request: FileRequest
    size: int  #: of the object, in bytes
    content_type: str
    on_complete: Callable[[], None] | None
    http_request: Request | None  #: None: it is not known, and the whole file is sent

    @functools.cached_property
    def key(self) -> str:
        """Of the object."""
        return str(self.file_request.object_key)

    @functools.cached_property
    def validators(self) -> ranges.Validators:
        """What tells this file from any other."""
        return ranges.Validators.of(self.file_request)

    @functools.cached_property
    def disposition(self) -> str:
        """As the header says it."""
        return disposition(self.file_request.filename, links.is_attachment(self.file_request))

    def span(self) -> ranges.Span:
        """The part that is asked for. Raises: RangeNotSatisfiable."""
        if self.http_request is None:
            return ranges.Span.whole(self.size)
        return ranges.span(self.http_request, self.validators, self.size)

    def headers(self) -> dict[str, str]:
        """What is said of the file, whichever part of it is sent (``Repr-Digest``: RFC 9530)."""
        about = {"Content-Type": self.content_type, "Content-Disposition": self.disposition, **self.marks()}
        if self.file_request.sha256:
            digest = base64.b64encode(bytes.fromhex(self.file_request.sha256)).decode()
            about["Repr-Digest"] = f"sha-256=:{digest}:"
        return HEADERS | about

    def marks(self) -> dict[str, str]:
        """The validators' headers."""
        etag = {"ETag": self.validators.etag} if self.validators.sha256 else {}
        return etag | ({"Last-Modified": said} if (said := self.validators.last_modified) else {})

    def handed_over(self) -> Iterator[bytes]:
        """No bytes, since somebody else sends them; counted at once, and not again where a client goes on later."""
        try:
            begins = self.span().start == 0
        except RangeNotSatisfiable:
            begins = False
        return bodies.streamed((), self.on_complete if begins else None)


def response(
    file_request: FileRequest,
    raise_on_missing: type[Exception] | Exception,
    default_content_type: str,
    on_complete: Callable[[], None] | None,
    http_request: Request | None = None,
) -> Response:
    """The file, or the part of it that is asked for, streamed or handed over. ``toolbox.serve`` has the parameters.

    :param http_request: what is answered; None: the whole file, whatever was asked.
    Raises: RangeNotSatisfiable, PreconditionFailed, TransientError.
    """
    size = _size(file_request)
    if size is None:
        raise raise_on_missing
    content_type = _sent_type(file_request.content_type) or default_content_type
    download = Download(file_request, size, content_type, on_complete, http_request)
    try:
        return _redirect(download) or _not_modified(download) or _sent_by_nginx(download) or _sent(download)
    except ObjectMissing:
        raise raise_on_missing from None


def _sent_type(content_type: str) -> str:
    """The same; nothing of one that no header can have, such as a visitor gives to what they upload."""
    return content_type if content_type.isascii() and content_type.isprintable() else ""


def _size(file_request: FileRequest) -> int | None:
    """The object's; None: it is not there, or not the one that was written."""
    if file_request.object_key is None:
        return None
    try:
        size = deployment.current().store_of(file_request).size(file_request.object_key)
    except ObjectMissing:
        return None
    if file_request.size is not None and size != file_request.size:
        logger.error("%r: its object has %d bytes instead of %d", file_request, size, file_request.size)
        return None
    return size


def _redirect(download: Download) -> Response | None:
    """To the bucket, for a moment. HEAD is answered here: such an address is signed for GET alone.

    Conditions are not looked at: the answer to a request without them is no success (RFC 9110, 13.2.1).
    """
    presigner = deployment.current().presigner_of(download.file_request)
    seconds = _seconds_left(download.file_request)
    if presigner is None or download.http_request is None or download.http_request.method != "GET" or seconds < 1:
        return None
    answer = {
        "content_type": download.content_type,
        "content_disposition": download.disposition,
        "cache_control": HEADERS["Cache-Control"],
    }
    headers = HEADERS | {"Location": presigner.url(download.key, seconds, **answer), "Content-Length": "0"}
    made = Response(download.handed_over(), 302, headers, direct_passthrough=True)
    del made.headers["Content-Type"]
    return made


def _seconds_left(file_request: FileRequest) -> int:
    """How long an address of the file may work."""
    expires_at = file_request.expires_at
    left = (expires_at - datetime.now(UTC)).total_seconds() if expires_at else presigning.MOST
    return int(min(left, presigning.MOST))


def _not_modified(download: Download) -> Response | None:
    asked = download.http_request
    if asked is None or not ranges.is_fresh(asked, download.validators):
        return None
    return Response(status=304, headers=HEADERS | download.marks())


#: Conditions that nginx would hold against the file on its disk, of which the client knows nothing.
NGINX_CONDITIONS = ("If-Match", "If-Unmodified-Since")


def _sent_by_nginx(download: Download) -> Response | None:
    """nginx finds the file on its disk, and cuts the range out by itself."""
    where, asked = _internal_path(download), download.http_request
    if where is None:
        return None
    if asked is not None and any(name in asked.headers for name in NGINX_CONDITIONS):
        return None
    sent = {"X-Accel-Redirect": where, "Content-Length": "0"}
    return Response(download.handed_over(), headers=download.headers() | sent, direct_passthrough=True)


def _internal_path(download: Download) -> str | None:
    """Where nginx has the file: its location is the folder of the deployment's own store, and nothing beside it."""
    parts = deployment.current()
    prefix, path = parts.settings.sendfile, parts.store_of(download.file_request).local_path(download.key)
    if not prefix or path is None or (folder := parts.store.folder) is None or not path.is_relative_to(folder):
        return None
    return f"{prefix.rstrip('/')}/{quote(path.relative_to(folder).as_posix())}"


def _sent(download: Download) -> Response:
    """By us, from the store."""
    span = download.span()
    headers = download.headers() | {"Content-Length": str(span.length)}
    if download.http_request is not None:
        headers["Accept-Ranges"] = "bytes"
    if not span.is_whole:
        headers["Content-Range"] = span.content_range
    return Response(_body(download, span), 200 if span.is_whole else 206, headers, direct_passthrough=True)


def _body(download: Download, span: ranges.Span) -> Iterable[bytes]:
    asked, store = download.http_request, deployment.current().store_of(download.file_request)
    if asked is not None and asked.method == "HEAD":
        return ()
    # Only the response that has the last byte is a download: neither a file that is fetched in many parts, nor one
    # that is resumed, counts more than once.
    on_complete = download.on_complete if span.has_end else None
    file = store.open_local(download.key)
    if file is not None:
        return bodies.from_disk(file, span, on_complete, asked.environ if asked is not None else {})
    return bodies.streamed(store.read(download.key, span.start, span.length), on_complete)


def disposition(filename: str, attachment: bool = True) -> str:
    """The Content-Disposition of a file (RFC 6266): plain for old programs, UTF-8 beside it for the others."""
    named = safe(filename)
    plain = unicodedata.normalize("NFKD", named).encode("ascii", "ignore").decode()
    names = {"filename": safe(f"file{plain}" if plain.startswith(".") else plain)}
    if plain != named or "%" in plain:  # some programs decode a percent sign in the plain form (RFC 6266, D)
        names["filename*"] = f"UTF-8''{quote(named, safe=ATTR_CHAR)}"
    return dump_options_header("attachment" if attachment else "inline", names)
