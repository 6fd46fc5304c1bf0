"""Links to the page that says how a request stands, and the tokens of the forms on such pages."""

from __future__ import annotations

from bgtasks import deployment
from bgtasks.claims import request_id
from bgtasks.errors import BadToken, InvalidRequestId, RequestNotFound
from bgtasks.models import FileRequest
from bgtasks.tokens import STATUS, Payload, SignerLike

#: Seconds that a page's forms work for.
FORM_AGE = 12 * 3600


def token_of(file_request: FileRequest) -> str:
    """The token of a request's status page. It works as long as the row is there, and gives no right to the file."""
    return Payload(STATUS, file_request.id, "").sign(_signer())


def path_of(file_request: FileRequest, root: str = "") -> str:
    """The path of a request's status page.

    :param root: where the files application is mounted.
    """
    return f"{root}/requests/{token_of(file_request)}"


def read(token: str) -> FileRequest:
    """The request whose status page this is. Raises: BadToken, RequestNotFound."""
    said = Payload.unsigned(_signer(), token, (STATUS,))
    try:
        found = deployment.current().requests.get(request_id(said.request_id))
    except InvalidRequestId:
        raise BadToken from None
    if found is None:
        raise RequestNotFound
    return found


def form_token(action: str, file_request: FileRequest, visitor: str | None) -> str:
    """What a form carries, so that nobody else can send it in a visitor's name."""
    return Payload(action, file_request.id, visitor or "").sign(_form_signer())


def check_form(action: str, token: str, file_request: FileRequest, visitor: str | None) -> None:
    """See that a form comes from a page that this visitor was shown. Raises: BadToken, ExpiredToken."""
    said = Payload.unsigned(_form_signer(), token, (action,))
    if (said.request_id, said.token_id) != (file_request.id, visitor or ""):
        raise BadToken


def _signer() -> SignerLike:
    return deployment.current().signer(None, "status")


def _form_signer() -> SignerLike:
    return deployment.current().signer(FORM_AGE, "form")
