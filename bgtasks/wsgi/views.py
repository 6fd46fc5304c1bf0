"""The download, as functions for a view of one's own, and its refusals.

Each refusal is an ``HTTPException`` of Werkzeug's too, so that Flask and Werkzeug answer it as it is.
"""

from __future__ import annotations

import logging
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from bgtasks import database, deployment, identity, links, toolbox
from bgtasks.claims import Claim
from bgtasks.errors import BadToken, BgtasksError, ExpiredToken, RequestNotFound, RevokedToken
from bgtasks.models import FileRequest
from bgtasks.states import LIVE, State
from bgtasks.tokens import SignerLike

#: Seconds after which an unfinished file is worth another try.
RETRY_AFTER = 10

logger = logging.getLogger(__name__)


class Refusal(BgtasksError, HTTPException):
    """The file is not handed out."""

    def __init__(self, message: str | None = None) -> None:
        HTTPException.__init__(self, message or self.default_message())

    def __str__(self) -> str:
        return str(self.description)


class SuspiciousToken(Refusal):
    """This link is not valid. Please check that it was copied whole."""

    code = 400


class SignatureHasExpired(Refusal):
    """This link has expired. Please ask for the file again."""

    code = 410


class UserIsNotRequester(Refusal):
    """This file was made for somebody else. Please log in as the person who asked for it."""

    code = 403


class LoginRequired(Refusal):
    """Please log in to download this file."""

    code = 401


class FileIsGone(Refusal):
    """This file does not exist, or not any more."""

    code = 404


class FileIsNotReady(Refusal):
    """This file is still being made. Please try again a little later."""

    code = 409


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
    Raises: SuspiciousToken, SignatureHasExpired, UserIsNotRequester, LoginRequired, FileIsGone.
    """
    try:
        link = links.read(token, signer)
        personal = links.is_requester_only(link.file_request)
        if personal and require_requester:
            link.require_requester()
    except RevokedToken:
        raise SignatureHasExpired("This link has been withdrawn.") from None
    except ExpiredToken:
        raise SignatureHasExpired from None
    except BadToken:
        raise SuspiciousToken from None
    except RequestNotFound:
        raise FileIsGone from None
    if personal and verify_requester:
        _verify(http_request, link.file_request)
    return link.file_request, link.data


def serve_file(
    http_request: Request,
    token: str,
    require_requester: bool = True,
    verify_requester: bool = True,
    signer: SignerLike | None = None,
) -> Response:
    """The file that a token is for, streamed; counted as a download once its last byte is handed over.

    The parameters and errors are those of ``evaluate_request``; and it raises FileIsNotReady.
    """
    file_request, _ = evaluate_request(http_request, token, require_requester, verify_requester, signer)
    _require_file(file_request)
    visitor = identity.requester(http_request.environ)

    def count() -> None:
        try:
            deployment.current().requests.downloaded(file_request.id, visitor, http_request.remote_addr)
        except database.UNREACHABLE:  # the visitor has the file: a count must not break it off
            logger.warning("%r: a download could not be counted", Claim.of(file_request))

    return toolbox.serve(file_request, FileIsGone(), on_complete=count)


def _verify(http_request: Request, file_request: FileRequest) -> None:
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
