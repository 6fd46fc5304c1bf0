"""When one request answers for another: the same requester's same choice of the same file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from bgtasks import choices, criteria


def key_of(file_type: Any, asked: Mapping[str, Any]) -> str | None:
    """The ``coalesce_key`` of a new request; None: nothing answers for it but itself.

    :param file_type: an instance of its type.
    :param asked: its columns.
    """
    if not asked["requester"] or not file_type.get_coalesce():
        return None
    format = asked["format"] or file_type.get_formats()[0].name
    who = asked["file_type"], asked["requester"], asked["language"] or None, asked["timezone"] or None
    columns = asked["columns"] and choices.narrowing(file_type.get_columns(), asked["columns"])
    return hashlib.sha256(_canonical([*who, format, columns, _chosen(file_type, asked)]).encode()).hexdigest()


def _chosen(file_type: Any, asked: Mapping[str, Any]) -> str:
    """The criteria as the type understands them, defaults and all; or as they came, where it does not."""
    try:
        validated = criteria.validate(file_type.get_criteria_class(), asked["criteria"], asked["requester"])
        return _canonical(validated.model_dump(by_alias=False, round_trip=True))
    except Exception:  # of a validator of the user's own, say: the chain tells what is wrong
        return _canonical(asked["criteria"])


def _canonical(value: Any) -> str:
    """JSON text that is the same for the same data: neither keys nor sets have an order."""
    return json.dumps(to_jsonable_python(_in_order(value)), sort_keys=True)


def _in_order(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _in_order(part) for key, part in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(_canonical, value))
    return [_in_order(part) for part in value] if isinstance(value, list | tuple) else value
