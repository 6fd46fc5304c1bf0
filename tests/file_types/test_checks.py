"""What is wrong with a file type is said when it is registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field

from bgtasks import registry
from bgtasks.errors import ImproperlyConfigured
from bgtasks.file_types import FileType
from tests.support.file_types import Numbers


def declared(**attributes: Any) -> type[FileType]:
    """A file type that declares this."""
    return type("Declared", (Numbers,), {"file_type": "declared", **attributes})


class Asking(BaseModel):
    """Criteria that would say who asks."""

    requester: str


class AskingByAnotherName(BaseModel):
    """The same, behind an alias."""

    who: str = Field(alias="requester")


@dataclass
class NoModel:
    """Criteria that are no pydantic model."""

    count: int = 0


@pytest.mark.parametrize(
    "name", ["", "Flights", "1st", "_flights", "flights-2013", "flights.csv", "flüge", "a b", "a\n"]
)
def test_names_are_plain(name: str) -> None:
    """A name is part of a queue's name and stands in every message: small letters, digits and underscores."""
    with pytest.raises(ImproperlyConfigured, match="no name for a file type"):
        registry.register(declared(file_type=name))
    with pytest.raises(ImproperlyConfigured, match="no name for a file type"):
        registry.register(declared(), names=[name])


def test_a_name_is_taken_once() -> None:
    """Two types of one name would make each other's files."""
    registry.register(declared())

    class Other(Numbers):
        file_type = "declared"

    with pytest.raises(ImproperlyConfigured, match="registered already"):
        registry.register(Other)


def test_a_module_may_be_imported_twice() -> None:
    """The same class under the same name is no second one: it replaces the first."""
    registry.register(declared())
    again = registry.register(declared())
    assert registry.get("declared") is again


TEXTS = [
    "email_subject",
    "email_text_message",
    "email_html_message",
    "email_failed_subject",
    "email_failed_text_message",
    "download_url",
]


@pytest.mark.parametrize("attribute", TEXTS)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("%(nonsense)s", "'nonsense', which is not a field"),
        ("%(filename)s and %(file_name)s", "'file_name', which is not a field"),
        ("100%", "not a %"),
        ("100% of it", "not a %"),
        ("%(filename", "not a %"),
        ("%(size)d bytes", "not a %"),
        ("%s", "not a %"),
        ("%r", "not a %"),
        ("%(filename)s: %s", "not a %"),
        ("%d", "not a %"),
    ],
)
def test_texts_name_what_there_is(attribute: str, text: str, reason: str) -> None:
    """A text that could not be filled in is refused, by the attribute's name, before a mail depends on it."""
    with pytest.raises(ImproperlyConfigured, match=reason) as refused:
        registry.register(declared(**{attribute: text}))
    assert f"Declared.{attribute}" in str(refused.value)


@pytest.mark.parametrize("attribute", TEXTS)
@pytest.mark.parametrize(
    "text", ["", "plain", "100%%", "%(filename)s, %(size)s, %(token)s, %(download_url)s, %(criteria)10s"]
)
def test_texts_over_the_row_are_fine(attribute: str, text: str) -> None:
    """Every column, the token and the link can be named."""
    registry.register(declared(**{attribute: text}))


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"formats": ("csv", "docx")}, "unknown format"),
        ({"formats": ()}, "needs names of formats"),
        ({"formats": (3,)}, "needs names of formats"),
        ({"formats": "csv"}, "formats needs a list"),
        ({"columns": "number"}, "columns needs a list"),
        ({"columns": ()}, "columns needs headings"),
        ({"columns": {}}, "columns needs headings"),
        ({"columns": 7}, "columns needs headings"),
        ({"columns": {"number", "name"}}, "columns needs headings"),
        ({"columns": ("number", None)}, "columns needs headings"),
        ({"columns": (("number", "No."), ("name", "Name"))}, "columns needs headings"),
        ({"columns": {"number": None}}, r"columns\['number'\] needs a heading: None"),
        ({"columns": {"number": b"No."}}, r"columns\['number'\] needs a heading"),
        ({"columns": {"number": ("No.", "Number")}}, r"columns\['number'\] needs a heading"),
        ({"columns": {"": "No."}}, "columns needs names without commas"),
        ({"columns": {1: "No."}}, "columns needs names without commas"),
        ({"columns": {"a,b": "No."}}, "columns needs names without commas"),
        ({"columns": {"number ": "No."}}, "columns needs names without commas"),
        ({"formats": ("csv.zip",)}, "unknown format"),
        ({"formats": ("xlsx.gz",)}, "unknown format"),
        ({"formats": ("csv.gz.gz",)}, "unknown format"),
        ({"email_recipients": "ada@example.com"}, "email_recipients needs a list"),
        ({"notifiers": "email"}, "notifiers needs a list"),
        ({"notifiers": ("pigeon",)}, "unknown one: 'pigeon'"),
        ({"steps": ()}, "steps needs names"),
        ({"steps": "attach"}, "steps needs a list"),
        ({"steps": ("fetch_criteria", "Write!")}, "steps needs names"),
        ({"steps": ("notify", "notify")}, "each once"),
        ({"max_rows": 0}, "max_rows needs a whole number from 1"),
        ({"max_rows": "many"}, "max_rows needs a whole number from 1"),
        ({"max_active_per_requester": 0}, "max_active_per_requester needs a whole number from 1"),
        ({"max_active_per_requester": True}, "max_active_per_requester needs a whole number from 1"),
        ({"max_criteria_size": 1e5}, "max_criteria_size needs a whole number from 1"),
        ({"coalesce": "no"}, "coalesce needs True or False"),
        ({"Criteria": Asking}, "can't have a field 'requester'"),
        ({"Criteria": None, "criteria_class": Asking}, "can't have a field 'requester'"),
        ({"Criteria": NoModel}, "pydantic's BaseModel"),
        ({"Criteria": None, "criteria_class": dict}, "pydantic's BaseModel"),
    ],
)
def test_declarations_that_can_not_work(attributes: dict[str, Any], reason: str) -> None:
    """Each is refused with a sentence that names the class and the fault."""
    with pytest.raises(ImproperlyConfigured, match=reason) as refused:
        registry.register(declared(**attributes))
    assert "Declared" in str(refused.value)
    with pytest.raises(Exception, match="no such type"):
        registry.get("declared")


class Lazy:
    """Another framework's text, which is none yet while modules are imported."""

    def __str__(self) -> str:
        raise LookupError("too early")


@pytest.mark.parametrize(
    "columns",
    [None, ("number", "name"), ["", 2013], {"number": "No.", "a b": ""}, {"number": Lazy()}, [Lazy(), Lazy()]],
)
def test_columns_that_can_work(columns: Any) -> None:
    """Headings by position or by name; a lazy one is not asked for its words."""
    registry.register(declared(columns=columns))
