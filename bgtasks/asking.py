"""The one way in: a request is stored by the rules of its file type, or another one answers for it."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from bgtasks import choices, criteria, deployment, locales, registry
from bgtasks.coalescing import key_of
from bgtasks.columns import faults_in
from bgtasks.errors import BgtasksError, InvalidCriteria, Sentence, TooManyActive, UnknownFileType
from bgtasks.models import FileRequest
from bgtasks.requests import NOTIFY

#: The largest size of the criteria, in bytes of JSON, where no file type says otherwise.
MOST_CRITERIA = 100_000
#: Why a request is not taken.
REFUSALS = (InvalidCriteria, UnknownFileType, TooManyActive)


def ask(asked: dict[str, Any], *, scheduled: bool, session: Session | None = None) -> FileRequest:
    """Store a request, or find the one that answers for it: that one has another id, and needs no message.

    :param asked: its columns, as ``columns_of`` makes them.
    :param scheduled: whether its chain will be published; coalescing and ``max_active_per_requester`` are for those.
    :param session: do it within this session's transaction.
    Raises: InvalidCriteria, which names the arguments that can't be stored; UnknownFileType, TooManyActive.
    """
    file_type = _known(asked["file_type"])
    if faults := faults_in(asked, file_type.get_max_criteria_size() if file_type else MOST_CRITERIA):
        raise InvalidCriteria(faults)
    if file_type is not None and asked["columns"]:
        choices.columns_of(file_type.get_columns(), asked["columns"])
    if file_type is not None:
        asked = {**asked, "criteria": _settled(file_type, asked)}
    most = None
    if scheduled:
        if file_type is None:
            named = repr(asked["file_type"][:100])
            raise UnknownFileType(Sentence("There is no type of file called %(name)s.", {"name": named}))
        asked = {**asked, "coalesce_key": key_of(file_type, asked)}
        most = file_type.get_max_active_per_requester() if asked["requester"] else None
    requests = deployment.current().requests
    if session is not None:
        return requests.insert_with(session, asked, scheduled=scheduled, most=most)
    return requests.insert(asked, scheduled=scheduled, most=most)


def refuse(asked: dict[str, Any], refusal: BgtasksError) -> FileRequest:
    """Store a request that is not taken as failed, without the columns that are at fault; its requester is to be told.

    There is nothing to tell it by for an unknown type.
    """
    faults = refusal.fields if isinstance(refusal, InvalidCriteria) else {}
    storable = {name: value for name, value in asked.items() if name not in faults}
    file_type = _known(storable.get("file_type"))
    tells = file_type is not None and NOTIFY in file_type.steps
    return deployment.current().requests.insert(storable, scheduled=tells, fault=refusal)


def _settled(file_type: Any, asked: dict[str, Any]) -> Any:
    try:
        model = file_type.get_criteria_class()
    except Exception:  # the user's own code: the chain tells what is wrong
        return asked["criteria"]
    with locales.in_force(asked["language"], asked["timezone"]):
        return criteria.settled(model, asked["criteria"], asked["requester"])


def _known(name: Any) -> Any:
    """An instance of the file type; None: there is no such type."""
    try:
        return registry.get(name)() if isinstance(name, str) and name else None
    except UnknownFileType:
        return None
