"""``respond_to``: the columns that an HTTP request chooses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from werkzeug.datastructures import MultiDict
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from bgtasks.criteria import QueryCriteria
from bgtasks.errors import InvalidCriteria
from bgtasks.file_types import Dataset, FileType
from bgtasks.wsgi.problems import problem
from tests.support.handmade import REQUESTER

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.usefixtures("app"),
]


class Named(FileType):
    """At once, with three columns to choose from."""

    file_type = "named"
    columns = {"a": "A", "b": "B", "c": "C"}

    def get_items(self, criteria: Any) -> Any:
        return [(1, 2, 3)]

    def evaluate_dataset(self, dataset: Dataset, http_request: Any) -> None:
        dataset.delay = False


def asking(**more: Any) -> Request:
    """Somebody asks."""
    return Request(EnvironBuilder(environ_overrides={"REMOTE_USER": REQUESTER}, **more).get_environ())


def said(file_type: FileType, **more: Any) -> str:
    """The file."""
    _, response = file_type.respond_to(asking(**more))
    return b"".join(response.iter_encoded()).decode()


@pytest.mark.parametrize(
    "sent",
    [
        {"query_string": "columns=c&columns=a"},
        {"query_string": "columns=c,a"},
        {"query_string": "columns=+c+,+a+,"},
        {"query_string": "columns=c&columns=,&columns=a&columns="},
        {"method": "POST", "data": MultiDict([("columns", "c"), ("columns", "a")])},
        {"method": "POST", "data": {"columns": "c,a"}},
        {"method": "POST", "json": {"columns": ["c", "a"]}},
        {"method": "POST", "json": {"columns": "c, a"}},
        {"method": "POST", "json": {"columns": None}, "query_string": "columns=c,a"},
        {"method": "POST", "json": {}, "query_string": "columns=c,a"},
        {"method": "POST", "json": [1], "query_string": "columns=c,a"},
    ],
)
def test_columns_are_named_in_any_of_the_usual_ways(sent: dict[str, Any]) -> None:
    """In repeated fields, with commas between them, or as a JSON list; in the order of the file."""
    assert said(Named(), **sent) == "C,A\r\n3,1\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"query_string": "columns="},
        {"method": "POST", "json": {"columns": []}},
        {"method": "POST", "json": {"columns": ""}},
    ],
)
def test_without_a_choice_there_are_all(sent: dict[str, Any]) -> None:
    """A blank field has not been filled in."""
    assert said(Named(), **sent) == "A,B,C\r\n1,2,3\r\n"


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"query_string": "columns=a,d"}, "There is no column 'd'. Please choose from these: a, b, c."),
        ({"query_string": "columns=a&columns=a"}, "The column 'a' is chosen twice."),
        ({"method": "POST", "json": {"columns": ["a", 1]}}, "This must be a list of names."),
        ({"method": "POST", "json": {"columns": {"a": 1}}}, "This must be a list of names."),
        ({"method": "POST", "json": {"columns": 7}}, "This must be a list of names."),
    ],
)
def test_a_wrong_choice_is_told_by_its_field(sent: dict[str, Any], sentence: str) -> None:
    """As with any criteria: 400, and problem details for programs."""
    with pytest.raises(InvalidCriteria) as refused:
        Named().respond_to(asking(**sent))
    assert refused.value.fields == {"columns": [sentence]}
    answer = problem(asking(headers={"Accept": "application/json"}), refused.value)
    assert (answer.status_code, answer.get_json()["errors"]) == (400, {"columns": [sentence]})


def test_a_long_name_is_not_shown_whole() -> None:
    """It is the sender's own, and of no use."""
    with pytest.raises(InvalidCriteria) as refused:
        Named().respond_to(asking(method="POST", json={"columns": ["x" * 10_000]}))
    assert len(str(refused.value)) < 300


class OfTheirOwn(Named):
    """Criteria with a field of that name."""

    class Criteria(BaseModel):
        columns: int

    def get_items(self, criteria: Any) -> Any:
        return [(criteria.columns, 2, 3)]


def test_a_criteria_field_called_columns_is_the_criterias() -> None:
    """The library's own field gives way."""
    assert said(OfTheirOwn(), query_string="columns=7") == "A,B,C\r\n7,2,3\r\n"
    assert said(OfTheirOwn(), method="POST", json={"columns": 8}) == "A,B,C\r\n8,2,3\r\n"


class Queried(Named):
    """Criteria of any fields."""

    criteria_class = QueryCriteria

    def get_items(self, criteria: Any) -> Any:
        return [(criteria.raw, 2, 3)]


def test_a_choice_is_no_criteria() -> None:
    """Criteria that take fields of any name do not get it."""
    assert said(Queried(), query_string="x=1&columns=a") == "A\r\nx=1\r\n"
