"""What a person or a program says in an HTTP request: the criteria, the format, the columns, the time zone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Request

from bgtasks import locales
from bgtasks.criteria import CSRF_FIELDS, QueryCriteria
from bgtasks.errors import WHOLE, InvalidCriteria
from bgtasks.items.columns import COLUMNS
from bgtasks.locales import gettext

#: Fields that are not criteria, unless the criteria have a field of that name.
FORMAT, ZONE = "format", "tz"


def chosen(http_request: Request, model: type[BaseModel] | None) -> Any:
    """The criteria of a JSON body, a form or a query string, as the model takes them. Raises: InvalidCriteria."""
    if http_request.is_json:
        given = _json(http_request)
        return _criteria_in(given, model) if isinstance(given, dict) else given
    fields = _criteria_in(dict(http_request.values.lists()), model)
    if model is not None and issubclass(model, QueryCriteria):
        return QueryCriteria.of(MultiDict(fields)).raw
    many = {_input(name, field) for name, field in _fields(model) if _takes_many(field.annotation)}
    filled = {name: kept for name, texts in fields.items() if (kept := _filled(texts))}
    return {name: texts if name in many else texts[-1] for name, texts in filled.items()}


def chosen_format(http_request: Request, model: type[BaseModel] | None) -> str:
    """The name of the format that is asked for; ``""``: none. Raises: InvalidCriteria, for a body that is no JSON."""
    return _own(FORMAT, http_request, model) or ""


def chosen_columns(http_request: Request, model: type[BaseModel] | None) -> list[str]:
    """The names of the columns that are asked for: in a JSON list, in one text with commas, or in several fields.

    Raises: InvalidCriteria, for a body that is no JSON, and for what are no names.
    """
    if COLUMNS in inputs(model):
        return []
    said = _in_json(COLUMNS, http_request)
    if said is None:
        return names_in(http_request.values.getlist(COLUMNS))
    if isinstance(said, str):
        return names_in([said])
    if not isinstance(said, list) or not all(isinstance(name, str) for name in said):
        raise InvalidCriteria({COLUMNS: [gettext("This must be a list of names.")]})
    return said


def names_in(texts: list[str]) -> list[str]:
    """The names in some fields, each of which may have several, with commas between them."""
    return _filled([name.strip() for text in texts for name in text.split(",")])


def zone(http_request: Request, model: type[BaseModel] | None) -> str | None:
    """The time zone that a field ``tz`` names, or else the cookie of that name; None: no known one.

    Raises: InvalidCriteria, for a body that is no JSON.
    """
    said = locales.known_zone(_own(ZONE, http_request, model))
    known = said or locales.known_zone(http_request.cookies.get(ZONE))
    return known.key if known else None


def _own(name: str, http_request: Request, model: type[BaseModel] | None) -> str | None:
    """What one of our own fields says: in the form, in the query string, or in a JSON object."""
    if name in inputs(model):
        return None
    said = _in_json(name, http_request)
    return http_request.values.get(name) if said is None else str(said)


def _in_json(name: str, http_request: Request) -> Any:
    """What a JSON object says; None: nothing, or there is none."""
    body = _json(http_request) if http_request.is_json else None
    return body.get(name) if isinstance(body, dict) else None


def _criteria_in(given: dict[str, Any], model: type[BaseModel] | None) -> dict[str, Any]:
    """What is sent, without a form's own protection and the fields that are ours."""
    ours = {FORMAT, ZONE, COLUMNS} - inputs(model)
    return {name: value for name, value in given.items() if name not in ours and name.lower() not in CSRF_FIELDS}


def inputs(model: type[BaseModel] | None) -> set[str]:
    """What the criteria's fields are called in a form."""
    return {_input(name, field) for name, field in _fields(model)}


def _json(http_request: Request) -> Any:
    try:
        return http_request.get_json()
    except (BadRequest, RecursionError):
        raise InvalidCriteria({WHOLE: [gettext("This is not valid JSON.")]}) from None


def _filled(texts: list[str]) -> list[str]:
    """A form sends every field, and a blank one is a field that was not filled in."""
    return [text for text in texts if text]


def _fields(model: type[BaseModel] | None) -> Collection[tuple[str, FieldInfo]]:
    return model.model_fields.items() if model is not None else ()


def _input(name: str, field: FieldInfo) -> str:
    """What a field is called in the form."""
    return field.validation_alias if isinstance(field.validation_alias, str) else name


def _takes_many(annotation: Any) -> bool:
    """Whether a field takes several values: ``list[str]``, and ``list[str] | None`` too."""
    if get_origin(annotation) in (Union, UnionType):
        return any(map(_takes_many, get_args(annotation)))
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, Collection) and not issubclass(kind, str | bytes | Mapping)
