"""Headings by name are the file type's own texts: each requester reads them in their language."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from bgtasks import registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.dev import forms
from bgtasks.errors import InvalidCriteria
from bgtasks.locales import in_force
from tests.locale.conftest import Translate
from tests.support.file_types import Numbers
from tests.support.handmade import fresh

GERMAN = {
    "Number": "Nummer",
    "The columns of this file can't be chosen.": "Hier sind keine Spalten zu wählen.",
}


class Named(Numbers):
    """Rows without names, which the mapping names by position."""

    file_type = "named"
    notifiers = ()
    columns = {"number": "Number", "name": "Own word"}


def headings(parts: Deployment, **asked: Any) -> list[str]:
    """The first line of the file."""
    row = toolbox.add_request({"count": 1}, "named", "ada", **asked)
    assert registry.dispatch(row.id)
    contents = b"".join(parts.store.read(str(fresh(parts, row).object_key)))
    return next(csv.reader(io.StringIO(contents.decode())))


def test_a_file_has_the_headings_of_its_requesters_language(translate: Translate, parts: Deployment) -> None:
    """What no catalogue has stays as it is; the names to choose by are the same in each language."""
    translate("de", GERMAN)
    registry.register(Named)
    assert headings(parts) == ["Number", "Own word"]
    assert headings(parts, language="de-CH") == ["Nummer", "Own word"]
    assert headings(parts, language="de", columns=["name", "number"]) == ["Own word", "Nummer"]
    assert headings(parts, language="fr") == ["Number", "Own word"]


def test_the_form_shows_the_same_headings(translate: Translate, parts: Deployment) -> None:
    """To tick them, by their names."""
    translate("de", GERMAN)
    with in_force("de", None):
        fields = {field.name: field for field in forms.form(Named()).fields}
    assert fields["columns"].choices == [("number", "Nummer"), ("name", "Own word")]


def test_what_is_wrong_with_a_choice_is_said_in_the_requesters_language(
    translate: Translate, parts: Deployment
) -> None:
    """As every sentence for them."""
    translate("de", GERMAN)
    with in_force("de", None), pytest.raises(InvalidCriteria) as refused:
        toolbox.add_request({}, "numbers", "ada", columns=["number"])
    assert refused.value.fields == {"columns": [GERMAN["The columns of this file can't be chosen."]]}
