"""A form for any file type, made from the pydantic model of its criteria."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema
from werkzeug.datastructures import MultiDict

from bgtasks.criteria import QueryCriteria
from bgtasks.forms import FORMAT, inputs, names_in
from bgtasks.items.columns import COLUMNS
from bgtasks.locales import N_, gettext

#: HTML's input for a JSON schema's ``format`` or ``type``.
KINDS = {
    "date": "date",
    "date-time": "datetime-local",
    "time": "time",
    "email": "email",
    "uri": "url",
    "integer": "number",
    "number": "number",
    "boolean": "checkbox",
}
#: HTML's attribute for a JSON schema's keyword.
LIMITS = {"minimum": "min", "maximum": "max", "minLength": "minlength", "maxLength": "maxlength"}
#: So many empty inputs are offered for more of a list's values.
MORE = 2
#: What holds of the columns, if nobody has chosen any.
ALL = N_("None ticked: all of them.")

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One field of a form: what it is, and what was typed into it."""

    name: str
    label: str
    kind: str = "text"  #: the input's type; ``select``, or ``choices`` for checkboxes
    required: bool = False
    many: bool = False  #: whether it takes several values
    hint: str = ""
    choices: Sequence[tuple[str, str]] = ()  #: value and label of each
    is_folded: bool = False  #: whether the choices are shown only on demand
    attributes: Sequence[tuple[str, str]] = ()  #: more of HTML's, such as ``min``
    values: Sequence[str] = ()  #: what was typed, or the default
    faults: Sequence[str] = ()  #: what is wrong with that

    @property
    def value(self) -> str:
        """The only value, or none."""
        return self.values[-1] if self.values else ""

    @property
    def rows(self) -> Sequence[str]:
        """One for each input of a list."""
        return [*self.values, *[""] * MORE]


@dataclass(frozen=True)
class Form:
    """The form of one file type."""

    file_type: str
    description: str
    explanation: str  #: a sentence more, or none
    fields: Sequence[Field]
    faults: Sequence[str] = ()  #: what is wrong with the whole
    is_open: bool = False  #: whether it takes fields of any name

    @property
    def is_wrong(self) -> bool:
        """Whether something must be corrected."""
        return bool(self.faults) or any(field.faults for field in self.fields)


class _Labels(GenerateJsonSchema):
    def get_title_from_name(self, name: str) -> str:
        return _label(name)


def form(
    file_type: Any, given: MultiDict[str, str] | None = None, faults: Mapping[str, Sequence[str]] | None = None
) -> Form:
    """The form of a file type, with what was typed and what is wrong with it.

    :param given: the fields of a query or a form; where one is not among them, its default is shown.
    :param faults: sentences by field, as ``InvalidCriteria`` has them.
    """
    given, faults = MultiDict(given), dict(faults or {})
    if COLUMNS in given and COLUMNS not in inputs(file_type.get_criteria_class()):
        given.setlist(COLUMNS, names_in(given.getlist(COLUMNS)))
    fields = [_filled(field, given, _of(field.name, faults)) for field in _declared(file_type, given)]
    names = {field.name for field in fields}
    return Form(
        file_type=file_type.get_file_type(),
        description=file_type.get_file_description() or _label(file_type.get_file_type()),
        explanation=(type(file_type).__dict__.get("__doc__") or "").partition("\n\n")[0].strip(),
        fields=fields,
        faults=[fault for name, found in faults.items() if _first(name) not in names for fault in found],
        is_open=_is_open(file_type.get_criteria_class()),
    )


def _declared(file_type: Any, given: MultiDict[str, str]) -> Iterator[Field]:
    model = file_type.get_criteria_class()
    if _is_open(model):
        yield from (Field(name, _label(name)) for name in given if name not in {FORMAT, COLUMNS})
    else:
        yield from _from_schema(_schema(model))
    yield from (field for field in _ours(file_type) if field.name not in inputs(model))


def _ours(file_type: Any) -> Iterator[Field]:
    """What is chosen of any file type that leaves a choice."""
    formats = [written.name for written in file_type.get_formats()]
    if len(formats) > 1:
        choices = [(name, name.upper()) for name in formats]
        yield Field(FORMAT, N_("Format"), "select", required=True, choices=choices, values=formats[:1])
    columns = file_type.get_columns()
    if isinstance(columns, Mapping):
        choices = [(name, gettext(heading)) for name, heading in columns.items()]
        yield Field(COLUMNS, N_("Columns"), "choices", hint=ALL, choices=choices, is_folded=True, values=tuple(columns))


def _is_open(model: type[BaseModel] | None) -> bool:
    return model is None or issubclass(model, QueryCriteria)


def _schema(model: type[BaseModel]) -> Schema:
    try:
        return model.model_json_schema(schema_generator=_Labels)
    except PydanticInvalidForJsonSchema:  # a type of the application's own that says nothing of JSON
        return {"properties": {name: {} for name in sorted(inputs(model))}}


def _from_schema(schema: Schema) -> Iterator[Field]:
    definitions, required = schema.get("$defs", {}), schema.get("required", ())
    for name, declared in schema.get("properties", {}).items():
        yield _field(name, declared, _resolved(declared, definitions), name in required, definitions)


def _resolved(declared: Schema, definitions: Schema) -> Schema:
    """The same without references, and without the null of an optional field."""
    if "$ref" in declared:
        declared = {**definitions[declared["$ref"].rpartition("/")[2]], **declared, "$ref": ""}
        return {name: value for name, value in declared.items() if name != "$ref"}
    options = [option for option in declared.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        return {**_resolved(options[0], definitions), "is_optional": True}
    return declared


def _field(name: str, declared: Schema, resolved: Schema, required: bool, definitions: Schema) -> Field:
    many = resolved.get("type") == "array"
    single = _resolved(resolved.get("items", {}), definitions) if many else resolved
    choices = _choices(single)
    return Field(
        name,
        declared.get("title") or _label(name),
        _kind(single, choices, many),
        required,
        many,
        hint=declared.get("description", ""),
        choices=choices,
        attributes=_attributes(single),
        values=_texts(declared.get("default")),
    )


def _choices(schema: Schema) -> list[tuple[str, str]]:
    if schema.get("type") == "boolean" and schema.get("is_optional"):
        return [("true", "yes"), ("false", "no")]
    known = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return [(str(value), str(value)) for value in known if value is not None]


def _kind(schema: Schema, choices: Sequence[Any], many: bool) -> str:
    if choices:
        return "choices" if many else "select"
    return KINDS.get(schema.get("format", ""), KINDS.get(schema.get("type", ""), "text"))


def _attributes(schema: Schema) -> list[tuple[str, str]]:
    step = [("step", "any")] if schema.get("type") == "number" else []
    return step + [(LIMITS[name], str(limit)) for name, limit in schema.items() if name in LIMITS]


def _filled(field: Field, given: MultiDict[str, str], faults: Sequence[str]) -> Field:
    values = tuple(text for text in given.getlist(field.name) if text) if field.name in given else field.values
    return Field(**{**vars(field), "values": values, "faults": tuple(faults)})


def _of(name: str, faults: Mapping[str, Sequence[str]]) -> list[str]:
    """What is wrong with a field, or with one of the values in it (``carriers.2``)."""
    return [fault for key, found in faults.items() if _first(key) == name for fault in found]


def _first(name: str) -> str:
    return name.partition(".")[0]


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return (str(value).lower(),)
    values = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(str(one) for one in values)


def _label(name: str) -> str:
    return name.replace("_", " ").strip().capitalize()
