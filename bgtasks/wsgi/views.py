"""The download, as functions for a view of one's own."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Request, Response

from bgtasks import database, deployment, identity, links, serving, tallies, toolbox, watching
from bgtasks.claims import Claim
from bgtasks.errors import (
    BadToken,
    ExpiredToken,
    PreconditionFailed,
    RangeNotSatisfiable,
    RequestNotFound,
    RevokedToken,
    Sentence,
)
from bgtasks.models import FileRequest
from bgtasks.states import LIVE, State
from bgtasks.tokens import SignerLike
from bgtasks.wsgi.refusals import (
    DownloadNotPermitted,
    FileIsAnother,
    FileIsGone,
    FileIsNotReady,
    LoginRequired,
    PartIsNotThere,
    Refusal,
    SignatureHasExpired,
    SuspiciousToken,
    UserIsNotRequester,
)

__all__ = [
    "DownloadNotPermitted",
    "FileIsAnother",
    "FileIsGone",
    "FileIsNotReady",
    "LoginRequired",
    "PartIsNotThere",
    "Refusal",
    "SignatureHasExpired",
    "SuspiciousToken",
    "UserIsNotRequester",
    "evaluate_request",
    "serve_file",
]

logger = logging.getLogger(__name__)


def evaluate_request(
    http_request: Request,
    token: str,
    require_requester: bool = True,
    verify_requester: bool = True,
    signer: SignerLike | None = None,
) -> tuple[FileRequest, Any]:
    """See whether a visitor may have a file; the request, and the data in the token. For a preview page, say.

    Where the file type is not for its requester only, neither of the two is looked at.

    :param require_requester: accept only a requester's token.
    :param verify_requester: accept only the requester; False, if the host application has checked that.
    :param signer: instead of the file type's.
    Raises: SuspiciousToken, SignatureHasExpired, UserIsNotRequester, LoginRequired, DownloadNotPermitted, FileIsGone.
    """
    try:
        link = links.read(token, signer)
        personal = links.is_requester_only(link.file_request)
        if personal and require_requester:
            link.require_requester()
    except RevokedToken:
        raise SignatureHasExpired(Sentence("This link has been withdrawn.")) from None
    except ExpiredToken:
        raise SignatureHasExpired from None
    except BadToken:
        raise SuspiciousToken from None
    except RequestNotFound:
        raise FileIsGone from None
    if personal and verify_requester:
        verify(http_request, link.file_request)
    asker = link.file_request.requester if personal else identity.requester(http_request.environ)
    if not links.may_download(link.file_request, asker):
        raise DownloadNotPermitted
    return link.file_request, link.data


def serve_file(
    http_request: Request,
    token: str,
    require_requester: bool = True,
    verify_requester: bool = True,
    signer: SignerLike | None = None,
) -> Response:
    """The file that a token is for, or the part that is asked for; counted once its last byte is handed over.

    The parameters and errors are those of ``evaluate_request``; and it raises FileIsNotReady, PartIsNotThere and
    FileIsAnother.
    """
    file_request, _ = evaluate_request(http_request, token, require_requester, verify_requester, signer)
    _require_file(file_request)
    visitor = identity.requester(http_request.environ)

    def count() -> None:
        tallies.downloaded(file_request.file_type, ranged=made.status_code == HTTPStatus.PARTIAL_CONTENT)
        try:
            deployment.current().requests.downloaded(file_request.id, visitor, http_request.remote_addr)
        except database.UNREACHABLE:  # the visitor has the file: a count must not break it off
            logger.warning("%r: a download could not be counted", Claim.of(file_request))

    with watching.downloading(file_request):
        try:
            made = serving.response(file_request, FileIsGone(), toolbox.DEFAULT_CONTENT_TYPE, count, http_request)
        except RangeNotSatisfiable as error:
            raise PartIsNotThere(error.size) from None
        except PreconditionFailed:
            raise FileIsAnother from None
    return made


def verify(http_request: Request, file_request: FileRequest) -> None:
    """See that a visitor is the requester. Raises: LoginRequired, UserIsNotRequester."""
    visitor = identity.requester(http_request.environ)
    if not visitor:
        raise LoginRequired
    if visitor != file_request.requester:
        raise UserIsNotRequester


def _require_file(file_request: FileRequest) -> None:
    if file_request.state in LIVE:
        raise FileIsNotReady
    if file_request.state == State.EXPIRED or file_request.has_expired:
        raise SignatureHasExpired
    if file_request.state != State.READY:
        raise FileIsGone
