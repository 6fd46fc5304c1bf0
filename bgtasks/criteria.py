"""What a user chose: stored as JSON, and validated again whenever it is used."""

from __future__ import annotations

import functools
import json
from typing import Any, Self
from urllib.parse import parse_qsl, unquote_plus, urlencode

from pydantic import BaseModel, PrivateAttr, ValidationError, model_validator
from pydantic_core import to_jsonable_python
from werkzeug.datastructures import MultiDict

from bgtasks import faults, periods
from bgtasks.errors import WHOLE, InvalidCriteria
from bgtasks.locales import gettext

#: Form fields that protect the form itself, and are nobody's criteria.
CSRF_FIELDS = frozenset({"csrf_token", "csrfmiddlewaretoken", "_csrf", "_csrf_token", "authenticity_token", "_token"})


class QueryCriteria(BaseModel):
    """A form's or a query string's fields, kept as they came: repeated ones too, each name's values in order."""

    #: url-encoded, as in ``carrier=UA&carrier=B6``
    raw: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"raw": value} if isinstance(value, str) else value

    @classmethod
    def of(cls, fields: MultiDict[str, str]) -> Self:
        """The criteria of a parsed form or query."""
        return cls(raw=urlencode(list(fields.items(multi=True))))

    @property
    def fields(self) -> MultiDict[str, str]:
        """The fields, to be read like a form."""
        return MultiDict(parse_qsl(self.raw, keep_blank_values=True))

    def sanitize(self) -> Self:
        """The same without a form's CSRF token, which is not to be stored."""
        kept = [pair for pair in self.raw.split("&") if _field(pair) not in CSRF_FIELDS]
        return self.model_copy(update={"raw": "&".join(kept)})


def _field(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0]).lower()


class PlainCriteria(BaseModel):
    """The criteria of a file type that declares no class: any JSON value."""

    value: Any = None

    @model_validator(mode="before")
    @classmethod
    def _wrapped(cls, value: Any) -> Any:
        return {"value": value}


@functools.cache
def asked_by(criteria_class: type[BaseModel]) -> type[BaseModel]:
    """The same class with a ``requester``, which comes from the row and never from the JSON."""

    class Asked(criteria_class):  # type: ignore[valid-type, misc]
        _requester: str | None = PrivateAttr(default=None)

        @property
        def requester(self) -> str | None:
            """Who asks."""
            return self._requester

    Asked.__name__, Asked.__qualname__ = criteria_class.__name__, criteria_class.__qualname__
    return Asked


def validate(criteria_class: type[BaseModel] | None, value: Any, requester: str | None) -> Any:
    """Criteria from JSON. Raises: InvalidCriteria, which names the fields but never the values."""
    text = _text(value)
    try:
        criteria = asked_by(criteria_class or PlainCriteria).model_validate_json(text, by_alias=True, by_name=True)
    except ValidationError as invalid:
        raise InvalidCriteria(faults.by_field(invalid)) from None
    criteria._requester = requester  # type: ignore[attr-defined]  # noqa: SLF001 - of our own class, above
    return criteria


def settled(criteria_class: type[BaseModel] | None, value: Any, requester: str | None) -> Any:
    """The same criteria with days where a period was told in words, which would be others tomorrow.

    What is not valid stays as it is, and so does what has no such words.
    """
    if not (periods.are_in(value) or _has_periods(criteria_class)):
        return value
    with periods.asked_at(None), periods.settling() as words:
        try:
            chosen = validate(criteria_class, value, requester)
        except Exception:  # of a validator of the user's own, say: the chain tells what is wrong
            return value
    return dump(chosen) if words else value


@functools.cache
def _has_periods(criteria_class: type[BaseModel] | None) -> bool:
    """Whether a period in words is what a field has where nothing is said."""
    fields = criteria_class.model_fields.values() if criteria_class else ()
    return any(periods.are_in(field.get_default(call_default_factory=False)) for field in fields)


def _text(value: Any) -> str:
    try:
        return json.dumps(dump(value))
    except (ValueError, RecursionError):  # nested too deeply, or half a character in a name
        raise InvalidCriteria({WHOLE: [gettext("This is not valid JSON.")]}) from None


def dump(criteria: Any) -> Any:
    """Criteria as the JSON that the row keeps, from which ``validate`` makes them again.

    A model's fields go by their names, whatever their aliases are; computed fields are left out.
    """
    if isinstance(criteria, PlainCriteria):
        criteria = criteria.value
    if isinstance(criteria, BaseModel):
        criteria = criteria.model_dump(mode="json", by_alias=False, round_trip=True)
    # PostgreSQL's JSON has no NaN and no infinities: they become strings, which a float field reads.
    return json.loads(json.dumps(to_jsonable_python(criteria)), parse_constant=str)
