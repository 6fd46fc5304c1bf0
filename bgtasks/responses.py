"""What a file type answers to an HTTP request: the file at once, or that it will be made."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Request, Response

from bgtasks import identity, serving, streams, templates
from bgtasks.criteria import CSRF_FIELDS, QueryCriteria, dump
from bgtasks.errors import InvalidCriteria
from bgtasks.models import FileRequest

JSON = "application/json"
#: Fields of a form or query that are not criteria.
OWN_FIELDS = CSRF_FIELDS | {"format"}


def chosen(http_request: Request, model: type[BaseModel] | None) -> Any:
    """The criteria of a JSON body, a form or a query string, as the model takes them. Raises: InvalidCriteria."""
    if http_request.is_json:
        return _json(http_request)
    if model is not None and issubclass(model, QueryCriteria):
        return QueryCriteria.of(http_request.values).sanitize().raw
    many = {_input(name, field) for name, field in _fields(model) if _takes_many(field.annotation)}
    given = {name: _filled(texts) for name, texts in http_request.values.lists() if name.lower() not in OWN_FIELDS}
    return {name: texts if name in many else texts[-1] for name, texts in given.items() if texts}


def _json(http_request: Request) -> Any:
    try:
        return http_request.get_json()
    except (BadRequest, RecursionError):
        raise InvalidCriteria({"": ["This is not valid JSON."]}) from None


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


def request_data(file_type: Any, http_request: Request, dataset: Any) -> dict[str, Any]:
    """The arguments of ``toolbox.add_request`` for a file that must wait."""
    return {
        "criteria": dump(dataset.criteria),
        "file_type": file_type.get_file_type(),
        "requester": identity.requester(http_request.environ),
        "content_type": file_type.content_type or "",
        "description": file_type.get_file_description(),
        "format": file_type.get_format().name,
        "filename": file_type.filename,
    }


def file(file_type: Any, dataset: Any) -> Response:
    """The file itself, written while it is sent."""
    chunks = streams.written_by(lambda buffer: file_type.write_bytes(dataset, buffer))
    response = Response(chunks, headers=serving.HEADERS, direct_passthrough=True)
    response.content_type = file_type.get_content_type()
    attachment = file_type.get_content_as_attachment()
    response.headers["Content-Disposition"] = serving.disposition(file_type.get_filename(), attachment)
    return response


def delayed(http_request: Request, file_request: FileRequest, template_name: str, context: dict[str, Any]) -> Response:
    """That the file will be made: a page, or JSON for a client that prefers it."""
    if http_request.accept_mimetypes.best_match(["text/html", JSON], "text/html") == JSON:
        body, kind = json.dumps({"id": file_request.id, "state": file_request.state}), JSON
    else:
        body, kind = templates.render(template_name, context), "text/html; charset=utf-8"
    return Response(body, 202, templates.HEADERS, content_type=kind)
