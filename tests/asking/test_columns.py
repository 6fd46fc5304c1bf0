"""A request chooses among the columns that its file type offers by name."""

from __future__ import annotations

import csv
import io
import uuid
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from bgtasks import deployment, registry, request_file, texts, toolbox
from bgtasks.coalescing import key_of
from bgtasks.columns import columns_of
from bgtasks.deployment import Deployment
from bgtasks.errors import InvalidCriteria
from bgtasks.models import FileRequest
from bgtasks.states import State
from tests.asking.roads import ADA, ROADS, Alike, Road
from tests.support.file_types import Numbers
from tests.support.handmade import fresh

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
NO_CHOICE = "The columns of this file can't be chosen."
BAD: list[tuple[Any, str]] = [
    (["number", "weight"], "There is no column 'weight'. Please choose from these: number, name, double."),
    (["Number"], "There is no column 'Number'. Please choose from these: number, name, double."),
    (["name", "number", "name"], "The column 'name' is chosen twice."),
]


class Named(Numbers):
    """Rows with names, of which one has no place in the file."""

    file_type = "named"
    notifiers = ()
    columns = {"number": "No.", "name": "Its name", "double": "Twice that"}

    def get_items(self, criteria: Any) -> Any:
        return [{"id": 0, "name": f"name {number}", "number": number, "double": 2 * number} for number in range(2)]


@pytest.fixture(autouse=True)
def _named() -> None:
    registry.register(Named)


def lines(parts: Deployment, row: FileRequest) -> list[list[str]]:
    """The finished file."""
    assert registry.dispatch(row.id)
    contents = b"".join(parts.store.read(str(fresh(parts, row).object_key)))
    return list(csv.reader(io.StringIO(contents.decode(), newline="")))


def by_query(criteria: Any = "", file_type: str = "named", requester: Any = ADA, **more: Any) -> FileRequest:
    """By ``respond_to``, with the columns as fields of a form."""
    sent = {"query_string": {"columns": more["columns"]}} if "columns" in more else {}
    http_request = Request(
        EnvironBuilder(
            headers={"Accept": "application/json"}, environ_overrides={"REMOTE_USER": requester}, **sent
        ).get_environ()
    )
    said = registry.get(file_type)().respond_to(http_request)[1].get_json()
    row = deployment.current().requests.get(said["id"])
    assert row is not None
    return row


@pytest.mark.parametrize("road", [*ROADS, by_query])
def test_a_file_has_the_columns_of_the_request_in_its_order(parts: Deployment, road: Road) -> None:
    """On every road; they are kept on the row, and what was not chosen is not in the file."""
    row = road({}, "named", ADA, columns=["name", "number"])
    assert fresh(parts, row).columns == ["name", "number"]
    assert lines(parts, row) == [["Its name", "No."], ["name 0", "0"], ["name 1", "1"]]


@pytest.mark.parametrize("road", [*ROADS, by_query])
@pytest.mark.parametrize("columns", [[], None])
@ON_SQLITE
def test_who_chooses_none_has_all(parts: Deployment, road: Road, columns: Any) -> None:
    """The type's own, in its order, under its headings; the row has no choice."""
    row = road({}, "named", ADA, columns=columns)
    assert fresh(parts, row).columns is None
    assert lines(parts, row)[:2] == [["No.", "Its name", "Twice that"], ["0", "name 0", "0"]]


@pytest.mark.parametrize(("columns", "sentence"), BAD)
@ON_SQLITE
def test_a_choice_that_is_none_leaves_a_failed_row(parts: Deployment, columns: Any, sentence: str) -> None:
    """Whoever has sent a message is told by the row; what can't be is not kept on it."""
    asked = str(uuid.uuid4())
    request_file.apply(("named", {}, ADA), {"columns": columns}, task_id=asked)
    row = parts.requests.get(asked)
    assert row is not None
    assert (row.state, row.error_code, row.columns) == (State.FAILED, "invalid_criteria", None)
    assert row.error_message == f"The criteria are not valid. columns: {sentence}"


@pytest.mark.parametrize(("columns", "sentence"), BAD)
@ON_SQLITE
def test_whoever_is_there_is_told_at_once(parts: Deployment, columns: Any, sentence: str) -> None:
    """The field is named, and nothing is stored; of a type whose headings have no names nothing can be chosen."""
    for ask in (
        lambda: toolbox.add_request({}, "named", ADA, columns=columns),
        lambda: toolbox.add_request({}, "named", ADA, columns=columns, schedule=True),
        lambda: by_query(columns=columns),
    ):
        with pytest.raises(InvalidCriteria) as refused:
            ask()
        assert refused.value.fields == {"columns": [sentence]}
    for ask in (
        lambda: toolbox.add_request({}, "numbers", ADA, columns=["number"]),
        lambda: by_query(file_type="numbers", columns=["number"]),
    ):
        with pytest.raises(InvalidCriteria) as refused:
            ask()
        assert refused.value.fields == {"columns": [NO_CHOICE]}
    assert list(FileRequest.to_handle()) == []


@ON_SQLITE
def test_a_choice_that_is_not_offered_any_more_fails_in_the_first_step(parts: Deployment) -> None:
    """The type may have changed since, or the row come from where it was not known."""
    row = toolbox.add_request({}, "named", ADA, columns=["double"])
    registry._classes.clear()
    registry.register(type("Named", (Named,), {"columns": {"number": "No."}}))
    with pytest.raises(Exception, match="There is no column 'double'"):
        registry.dispatch(row.id)
    ended = fresh(parts, row)
    assert (ended.state, ended.error_code, ended.rows_total) == (State.FAILED, "invalid_criteria", None)


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ("number", "must be a list of names"),
        ({"number": 1}, "must be a list of names"),
        ([1], "must be a list of names"),
        ([["number"]], "must be a list of names"),
        (7, "must be a list of names"),
        (["num\0ber"], "has a character that no text has"),
        (["\ud83d"], "has a character that no text has"),
        (["number" * 20_000], "are too big: 120,004 bytes, where 100,000 are the most"),
    ],
)
def test_what_are_no_names_is_not_stored(parts: Deployment, columns: Any, fault: str) -> None:
    """From a message, on a failed row; by hand, at once."""
    asked = str(uuid.uuid4())
    request_file.apply(("named", {}, ADA), {"columns": columns}, task_id=asked)
    row = parts.requests.get(asked)
    assert row is not None
    assert (row.state, row.columns) == (State.FAILED, None)
    assert f"columns: {fault}." in str(row.error_message)
    with pytest.raises(InvalidCriteria):
        toolbox.add_request({}, "named", ADA, columns=columns)


def test_a_request_by_hand_keeps_its_columns(parts: Deployment) -> None:
    """Of no type of ours, it may name what it likes; without a choice the column is NULL, and not JSON's null.

    A mail may name them too.
    """
    chosen, plain = toolbox.add_request(columns=("b", "é")), toolbox.add_request()
    assert (fresh(parts, chosen).columns, fresh(parts, plain).columns) == (["b", "é"], None)
    assert [texts.fields_of(row)["columns"] for row in (chosen, plain)] == ["b, é", ""]
    with parts.database.reading() as session:
        assert session.query(FileRequest.id).filter(FileRequest.columns.is_(None)).all() == [(plain.id,)]


class AlikeNamed(Named, Alike):
    """One request answers for the next."""

    file_type = "alike_named"


def test_another_choice_is_another_file(parts: Deployment) -> None:
    """The order counts; all of them in the type's order are what nobody has to name."""
    registry.register(AlikeNamed)

    def ask(*columns: str) -> str:
        return toolbox.add_request({}, "alike_named", ADA, columns=columns, schedule=True).id

    everything = ask()
    assert everything == ask("number", "name", "double")
    chosen = ask("number", "name")
    assert chosen == ask("number", "name")
    assert len({everything, chosen, ask("name", "number"), ask("number")}) == 4
    assert key_of(AlikeNamed(), columns_of({}, "alike_named", ADA, columns=["name"])) is not None


@ON_SQLITE
def test_an_idempotent_request_is_the_first_one(parts: Deployment) -> None:
    """Whatever columns the second one names."""
    first = toolbox.add_request({}, "named", ADA, idempotency_key="k", columns=["name"])
    again = toolbox.add_request({}, "named", ADA, idempotency_key="k", columns=["number"])
    assert (again.id, again.columns) == (first.id, ["name"])


def test_a_type_hands_its_choice_on(parts: Deployment) -> None:
    """``get_chosen_columns`` may know better than the request: who may see what, say."""

    class Narrow(Named):
        file_type = "narrow"

        def get_chosen_columns(self) -> Any:
            return [name for name in super().get_chosen_columns() or self.columns if name != "name"]

    registry.register(Narrow)
    assert lines(parts, toolbox.add_request({}, "narrow", ADA))[0] == ["No.", "Twice that"]
    assert lines(parts, toolbox.add_request({}, "narrow", ADA, columns=["name", "number"]))[0] == ["No."]
