"""Download links: which token stands for which request, and whose signer says so."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bgtasks import deployment, registry
from bgtasks.claims import request_id
from bgtasks.errors import (
    BadToken,
    ExpiredToken,
    ImproperlyConfigured,
    InvalidRequestId,
    RequestNotFound,
    RevokedToken,
    UnknownFileType,
)
from bgtasks.models import FileRequest
from bgtasks.tokens import FILE, GENERAL, Payload, SignerLike


@dataclass(frozen=True)
class Link:
    """A token that was found good."""

    file_request: FileRequest
    purpose: str
    data: Any

    def require_requester(self) -> None:
        """Raises: BadToken, unless this is a requester's token."""
        if self.purpose != FILE or not self.file_request.requester:
            raise BadToken


def restored(file_request: FileRequest) -> Any:
    """The row's file type, restored; None where this process does not know it."""
    try:
        return registry.get(file_request.file_type).restore(file_request)
    except UnknownFileType:
        return None


def signer_of(file_request: FileRequest) -> SignerLike:
    """The signer that a request's links are signed with: its file type's, or the default one."""
    file_type = restored(file_request)
    signer: SignerLike = file_type.get_signer() if file_type else deployment.current().default_signer
    return signer


def is_requester_only(file_request: FileRequest) -> bool:
    """Whether only its requester may have the file: as its file type says, and yes where that is not known."""
    file_type = restored(file_request)
    return file_type is None or bool(file_type.is_requester_only())


def is_attachment(file_request: FileRequest) -> bool:
    """Whether a browser shall save the file, rather than show it."""
    file_type = restored(file_request)
    return file_type is None or bool(file_type.get_content_as_attachment())


def may_download(file_request: FileRequest, visitor: str | None) -> bool:
    """Whether its file type lets somebody have the file, who holds a good link to it."""
    file_type = restored(file_request)
    return file_type is None or bool(file_type.may_download(visitor, file_request))


def token(file_request: FileRequest) -> str | None:
    """A token for a file that has been granted already; nothing lasts longer by it. None: there is no such link."""
    file_type, granted = restored(file_request), file_request.token_id
    personal = file_type is None or file_type.is_requester_only()
    if granted is None or (personal and not file_request.requester):
        return None
    data = file_type.get_token_data(file_request) if file_type else None
    return Payload(FILE if personal else GENERAL, file_request.id, granted, data).sign(signer_of(file_request))


def url(file_request: FileRequest, root: str) -> str | None:
    """The link with such a token. None: there is none.

    :param root: the path where the files application is mounted, for a deployment without a base URL.
    """
    signed, file_type = token(file_request), restored(file_request)
    if signed is None:
        return None
    with contextlib.suppress(ImproperlyConfigured):
        if file_type is not None:
            return str(file_type.get_download_url(file_request, signed))
    return f"{root}/files/{signed}"


def create(file_request: FileRequest, purpose: str, data: Any = None, signer: SignerLike | None = None) -> str:
    """A token. From now the file lasts as long as the token does. Raises: RequestNotFound."""
    signer = signer_of(file_request) if signer is None else signer
    # A grant that the caller knows of is signed as it is: if it was revoked meanwhile, the link is dead, and not a
    # new grant.
    known = file_request.token_id
    granted = deployment.current().requests.grant(file_request.id, None if known else uuid.uuid4().hex, signer.max_age)
    if granted is None:
        raise RequestNotFound
    return Payload(purpose, granted.id, known or str(granted.token_id), data).sign(signer)


def read(token: str, signer: SignerLike | None = None) -> Link:
    """What a token stands for. Raises: BadToken, ExpiredToken, RevokedToken, RequestNotFound."""
    said = _said(token, signer)
    file_request = deployment.current().requests.get(said.request_id)
    if file_request is None:
        raise RequestNotFound
    if signer is None:
        # Signed by some signer of ours; what counts is the one of this request's type, and its max_age.
        said = Payload.unsigned(signer_of(file_request), token, (FILE, GENERAL))
    if not file_request.token_id or said.token_id != file_request.token_id:
        raise RevokedToken
    return Link(file_request, said.purpose, said.data)


def _said(token: str, signer: SignerLike | None) -> Payload:
    expired: ExpiredToken | None = None
    for candidate in _signers() if signer is None else [signer]:
        try:
            said = Payload.unsigned(candidate, token, (FILE, GENERAL))
            request_id(said.request_id)
            return said
        except ExpiredToken as error:
            expired = error
        except (BadToken, InvalidRequestId):
            continue
    raise expired or BadToken


def _signers() -> Iterator[SignerLike]:
    """Every signer that a link of this deployment may be signed with."""
    yield deployment.current().default_signer
    for name in registry.names():
        yield registry.get(name)().get_signer()
