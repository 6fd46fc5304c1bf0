"""The same by hand: for a task, a view or a cron job of one's own.

file_request = toolbox.add_request({"year": 2013}, requester="user@example.com")
toolbox.attach_file(file_request, open("report.pdf", "rb"), "report.pdf")
token = toolbox.create_token(file_request)
"""

from __future__ import annotations

import io
import mimetypes
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.orm.attributes import set_committed_value
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from bgtasks import (
    deployment,
    execution,
    forgetting,
    links,
    periods,
    publishing,
    registry,
    results,
    serving,
    whereabouts,
)
from bgtasks.after_commit import publish_after_commit
from bgtasks.asking import ask
from bgtasks.columns import columns_of
from bgtasks.errors import ClaimLost
from bgtasks.filenames import safe
from bgtasks.forgetting import Forgotten
from bgtasks.leases import Lease
from bgtasks.models import COLUMNS, FileRequest
from bgtasks.requests import NOTIFY
from bgtasks.states import ENDED
from bgtasks.tokens import FILE, GENERAL, SignerLike

COPY_CHUNK = 1024 * 1024  # bytes
DEFAULT_CONTENT_TYPE = "application/octet-stream"


def add_request(
    criteria: Any = "",
    file_type: str = "",
    requester: Any = None,
    content_type: str = "",
    description: str = "",
    language: str | None = None,
    tz: str | None = None,
    *,
    session: Session | scoped_session[Session] | None = None,
    schedule: bool = False,
    **more: Any,
) -> FileRequest:
    """Store a request. By default nothing else happens: it is the caller's to handle (``FileRequest.to_handle()``).

    Where an earlier request answers for this one, by its ``idempotency_key`` or because the file type coalesces, that
    one is returned as it stands, and nothing happens.

    :param criteria: what was chosen: JSON data, a pydantic model, or a plain string.
    :param requester: who asks; stored as ``str(requester)``.
    :param session: store it within this session's transaction; the request that is returned is not in the session.
    :param schedule: publish the file type's chain, after the outermost commit.
    :param more: ``format``, ``columns`` (names, in the file's order; default: all), ``filename``, ``requester_email``
        (default: the requester, if that is an address), ``id``, ``idempotency_key``: the same again, from the same
        requester for the same file type, is the same request; ``once_per`` (``day``, ``week`` …), within that time.
    Raises: InvalidCriteria; when it is to be scheduled, UnknownFileType and TooManyActive too.
    """
    session = session() if isinstance(session, scoped_session) else session
    with periods.asked_at(None):
        new = columns_of(criteria, file_type, requester, content_type, description, language, tz, **more)
        file_request = ask(new, scheduled=schedule, session=session)
    if schedule and file_request.id == new["id"]:
        if session is not None:
            publish_after_commit(session, file_request.id)
        else:
            publishing.publish(file_request)
    return file_request


def attach_file(
    file_request: FileRequest,
    contents: bytes | str | io.IOBase | Iterable[bytes],
    filename: str | None = None,
    content_type: str | None = None,
    size: int | None = None,
) -> FileRequest:
    """Claim a pending request, store its file, and end it as ``ready``; nobody is notified.

    :param contents: bytes, text (as UTF-8), an open binary file, or an iterable of bytes; streamed.
    :param filename: its name (default: the request's, then ``contents.name``).
    :param content_type: its media type (default: the request's, then what the name suggests).
    :param size: how many bytes there must be.
    Raises: ClaimLost, if somebody else handles the request or it has ended; ValueError, if the size is another.
    After any other error than ClaimLost the request is pending again, and may be handled again.
    """
    parts = deployment.current()
    store_url = whereabouts.store_url_of(links.restored(file_request))
    held = parts.requests.take(file_request, f"{execution.here()} {uuid.uuid4().hex[:8]}")
    name = safe(filename or file_request.filename or Path(str(getattr(contents, "name", ""))).name)
    kind = content_type or file_request.content_type or mimetypes.guess_type(name)[0] or DEFAULT_CONTENT_TYPE
    try:
        with (
            Lease(parts.requests, held, parts.settings.lease) as lease,
            parts.store_at(store_url).open_writer(held.object_key, lease.note) as writer,
        ):
            for chunk in _chunks(contents):
                writer.write(chunk)
            if size is not None and size != writer.size:
                raise ValueError(f"the file has {writer.size} bytes where {size} were announced")
            writer.commit()
        outcome = {
            "object_key": held.object_key,
            "store_url": store_url,
            "size": writer.size,
            "sha256": writer.sha256,
            "filename": name,
            "content_type": kind,
        }
        ready = parts.requests.publish(held, outcome, links.signer_of(file_request).max_age, waits=False)
    except BaseException as error:
        pending = parts.requests.hand_back(held, None)
        parts.unstage(held, store_url)
        if pending is not None:
            _refreshed(file_request, pending)
        elif isinstance(error, Exception):  # of a claim that was lost, whatever it looked like here
            raise ClaimLost(file_request.id) from error
        raise
    results.announce(parts.app, ready)
    return _refreshed(file_request, ready)


def attach_local_file(
    file_request: FileRequest,
    filepath: str | Path,
    filename: str | None = None,
    content_type: str | None = None,
    size: int | None = None,
) -> FileRequest:
    """The same with a file on this machine's disk; its name is the default."""
    with Path(filepath).open("rb") as contents:
        name = filename or file_request.filename or Path(filepath).name
        return attach_file(file_request, contents, name, content_type, size)


def create_token(file_request: FileRequest, data: Any = None, signer: SignerLike | None = None) -> str:
    """A signed token for a download that only the request's requester may make.

    :param data: more to say in the token, as JSON; anybody can read it.
    :param signer: instead of the file type's.
    Raises: RuntimeError, if the request has no requester.
    """
    if not file_request.requester:
        raise RuntimeError("a request without a requester can't have a requester's token")
    return links.create(file_request, FILE, data, signer)


def create_general_token(file_request: FileRequest, data: Any = None, signer: SignerLike | None = None) -> str:
    """A signed token for a download by whoever holds the link."""
    return links.create(file_request, GENERAL, data, signer)


def decode(token: str, require_requester: bool = True, signer: SignerLike | None = None) -> tuple[FileRequest, Any]:
    """The request that a token is about, and the data that was put into it.

    :param require_requester: accept only a requester's token.
    Raises: BadToken, ExpiredToken, RevokedToken, RequestNotFound.
    """
    link = links.read(token, signer)
    if require_requester:
        link.require_requester()
    return link.file_request, link.data


def serve(
    file_request: FileRequest,
    raise_on_missing: type[Exception] | Exception = NotFound,
    default_content_type: str = DEFAULT_CONTENT_TYPE,
    on_complete: Callable[[], None] | None = None,
) -> Response:
    """A response that streams the file, whoever asks: check that first.

    :param raise_on_missing: raised where there is no file.
    :param on_complete: called once the last byte is handed over.
    """
    return serving.response(file_request, raise_on_missing, default_content_type, on_complete)


def cancel(file_request: FileRequest, actor: str | None = None, *, tell: bool = True) -> bool:
    """Give a live request up; a running step stops at its next write. False: it had ended already.

    :param actor: who cancels; a requester is not told of a cancel of their own.
    :param tell: whether anybody is told.
    """
    parts = deployment.current()
    known = links.restored(file_request) if tell and file_request.file_type else None
    waits = known is not None and NOTIFY in known.steps and known.wants_to_tell_cancel(file_request, actor)
    cancelled = parts.requests.cancel(file_request.id, actor, waits=waits)
    if cancelled is not None:
        _refreshed(file_request, cancelled)
        results.announce(parts.app, cancelled)
        parts.discard(cancelled)
        if waits:
            publishing.attempt(cancelled)
    return cancelled is not None


def retry(file_request: FileRequest, actor: str | None = None) -> bool:
    """Start a failed request again, from its first step. False: it is not failed. Raises: UnknownFileType."""
    if file_request.file_type:
        registry.get(file_request.file_type)
    parts = deployment.current()
    again = parts.requests.retry(file_request.id, actor, scheduled=bool(file_request.file_type))
    if again is not None:
        _refreshed(file_request, again)
        results.reopen(parts.app, again)
        if again.file_type:
            publishing.publish(again)
    return again is not None


def revoke(file_request: FileRequest, actor: str | None = None) -> bool:
    """Make every link to the file invalid, now. False: there was none."""
    revoked = deployment.current().requests.revoke(file_request.id, actor)
    if revoked is not None:
        _refreshed(file_request, revoked)
    return revoked is not None


def delete(file_request: FileRequest) -> bool:
    """Remove an ended request: its row, its history and its file. False: it is not there, or still live."""
    parts = deployment.current()
    row = parts.requests.get(file_request.id)
    if row is not None and row.state in ENDED and row.parts_total is not None:
        parts.drop_parts(row)  # what whoever has ended it may not have lived to do: their rows go with the request's
    deleted = parts.requests.delete(file_request.id)
    if deleted is not None:
        parts.discard(deleted)
    return deleted is not None


def forget(requester: Any, emails: Collection[str] = (), actor: str | None = None) -> Forgotten:
    """Remove all that there is of a person: what they asked for, with files, history, notifications and results.

    What goes on is cancelled first. Other people's requests keep no trace of them: who downloaded a file, or was told
    of it, is nobody by name there. It may be repeated: a store that is away leaves rows, which ``left`` counts.

    :param emails: more addresses of theirs, beside ``str(requester)``.
    Raises: ValueError, if nobody is named.
    """
    return forgetting.forget("" if requester is None else str(requester), emails, actor)


def get_default_signer() -> SignerLike:
    """The signer of download links whose file type has none of its own."""
    return deployment.current().default_signer


def _chunks(contents: Any) -> Iterator[bytes]:
    if isinstance(contents, str):
        contents = contents.encode()
    if isinstance(contents, bytes | bytearray | memoryview):
        yield bytes(contents)
    elif hasattr(contents, "read"):
        while chunk := contents.read(COPY_CHUNK):
            yield chunk.encode() if isinstance(chunk, str) else chunk
    else:
        yield from contents


def _refreshed(file_request: FileRequest, row: FileRequest) -> FileRequest:
    """The caller's own object, with what the row says now."""
    for column in COLUMNS:
        set_committed_value(file_request, column, getattr(row, column))
    return file_request
