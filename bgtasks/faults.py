"""What is wrong with a field of the criteria, as a short sentence to stand beside it in a form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bgtasks.locales import N_, Sentence, gettext, ngettext, number, told

_NO_DATE = N_("This is not a date.")
_NO_MOMENT = N_("This is not a date and time.")
_NO_TIME = N_("This is not a time.")
_NO_WHOLE_NUMBER = N_("This is not a whole number.")
_NO_NUMBER = N_("This is not a number.")
_NO_YES = N_("This must be yes or no.")
_NO_ID = N_("This is not a valid ID.")
_NO_LINK = N_("This is not a web address.")

#: Sentences by pydantic's types of errors (its "Validation Errors" page). Its own are for programmers.
SENTENCES = {
    "missing": N_("Please fill this in."),
    "extra_forbidden": N_("There is no such field."),
    "string_type": N_("This must be a text."),
    "list_type": N_("This must be a list."),
    "model_type": N_("These must be named fields."),
    **dict.fromkeys(("date_type", "date_parsing"), _NO_DATE),
    **dict.fromkeys(("date_from_datetime_parsing", "date_from_datetime_inexact"), _NO_DATE),
    **dict.fromkeys(("datetime_type", "datetime_parsing", "datetime_from_date_parsing"), _NO_MOMENT),
    **dict.fromkeys(("time_type", "time_parsing"), _NO_TIME),
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), _NO_WHOLE_NUMBER),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), _NO_NUMBER),
    **dict.fromkeys(("decimal_type", "decimal_parsing"), _NO_NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), _NO_YES),
    **dict.fromkeys(("uuid_type", "uuid_parsing", "uuid_version"), _NO_ID),
    **dict.fromkeys(("url_type", "url_parsing", "url_syntax_violation", "url_scheme"), _NO_LINK),
    **dict.fromkeys(("date_past", "datetime_past"), N_("This must be in the past.")),
    **dict.fromkeys(("date_future", "datetime_future"), N_("This must be in the future.")),
    "timezone_aware": N_("This time needs a zone, such as +01:00."),
    "greater_than": N_("This must be more than %(gt)s."),
    "greater_than_equal": N_("This must be at least %(ge)s."),
    "less_than": N_("This must be less than %(lt)s."),
    "less_than_equal": N_("This must be at most %(le)s."),
    "too_short": N_("Please choose at least %(min_length)s."),
    "too_long": N_("Please choose at most %(max_length)s."),
    "multiple_of": N_("This must be a multiple of %(multiple_of)s."),
    **dict.fromkeys(("enum", "literal_error"), N_("Please choose one of these: %(expected)s.")),
    "union_tag_invalid": N_("Please choose one of these as %(discriminator)s: %(expected_tags)s."),
    "union_tag_not_found": N_("Please choose a %(discriminator)s."),
}

#: What pydantic says before the words of a validator of the file type's own.
PREFIXES = ("Value error, ", "Assertion failed, ")


def by_field(invalid: ValidationError) -> dict[str, list[str]]:
    """What is wrong, by field (``""`` for the whole), in the language in force; never a value that was given."""
    fields: dict[str, list[str]] = {}
    for fault in invalid.errors(include_input=False, include_url=False):
        fields.setdefault(".".join(map(str, fault["loc"])), []).append(_said(fault))
    return fields


def _said(fault: ErrorDetails) -> str:
    context = fault.get("ctx", {})
    if (sentence := SENTENCES.get(fault["type"])) is not None:
        return told(Sentence(sentence, {**context, **_choices(context)}))
    if (counted := _counted(fault["type"], context)) is not None:
        return counted
    message = fault["msg"]
    for prefix in PREFIXES:
        message = message.removeprefix(prefix)
    return gettext(message)  # which a deployment's catalogue may have


def _choices(context: Mapping[str, Any]) -> dict[str, str]:
    """What can be chosen: pydantic joins the last two with an English word."""
    expected = str(context.get("expected", ""))
    joint, between = ("' or '", "', '") if "'" in expected else (" or ", ", ")
    return {"expected": between.join(expected.rsplit(joint, 1))}


def _counted(kind: str, context: Mapping[str, Any]) -> str | None:
    """How long a text may be."""
    if kind == "string_too_short":
        least = context["min_length"]
        said = ngettext(
            "Please use at least %(number)s character.", "Please use at least %(number)s characters.", least
        )
        return said % {"number": number(least)}
    if kind == "string_too_long":
        most = context["max_length"]
        said = ngettext("Please use at most %(number)s character.", "Please use at most %(number)s characters.", most)
        return said % {"number": number(most)}
    return None
