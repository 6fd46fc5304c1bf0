"""What a user chose: stored as JSON, and validated again whenever it is used."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, computed_field, model_validator

from bgtasks.criteria import PlainCriteria, dump, validate
from bgtasks.errors import InvalidCriteria

SECRET = "S3CRET"


class Colour(Enum):
    RED = "red"


class Flights(BaseModel):
    from_date: date
    until_date: date | None = None
    carriers: list[str] = []

    @model_validator(mode="after")
    def check_order(self) -> Flights:
        if self.until_date is not None and self.until_date < self.from_date:
            raise ValueError("until_date is before from_date")
        return self


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    day: date
    at: datetime
    amount: Decimal
    id: UUID
    colour: Colour
    tags: frozenset[str]
    pair: tuple[int, str]
    raw: bytes
    patience: timedelta

    @computed_field
    @property
    def year(self) -> int:
        return self.day.year


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    at_least: int = Field(alias="atLeast")


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: date = Field(alias="from")
    until: date = Field(validation_alias=AliasChoices("until", "to"), serialization_alias="end")
    inner: Inner


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Circle(BaseModel):
    kind: Literal["circle"]


class Square(BaseModel):
    kind: Literal["square"]


class Picky(BaseModel):
    number: int = 0
    text: str = Field("", max_length=3)
    code: str = Field("{}", pattern=r"^\{\}$")
    day: date = date(2024, 1, 1)
    at: datetime | None = None
    id: UUID | None = None
    colour: Colour = Colour.RED
    choice: Literal["a", "b"] = "a"
    either: int | bool = 0
    numbers: list[Annotated[int, Field(gt=0)]] = []
    shape: Circle | Square = Field(Circle(kind="circle"), discriminator="kind")


STRICT = {
    "day": "2024-02-29",
    "at": "2024-02-29T12:00:00+01:00",
    "amount": "1.50",
    "id": "00000000-0000-0000-0000-000000000001",
    "colour": "red",
    "tags": ["a"],
    "pair": [1, "x"],
    "raw": "bytes",
    "patience": "PT5M",
}


def refusal(model: type[BaseModel] | None, value: Any) -> InvalidCriteria:
    """Why criteria are refused."""
    with pytest.raises(InvalidCriteria) as refused:
        validate(model, value, None)
    return refused.value


# -- validation -----------------------------------------------------------------------------------


def test_criteria_come_from_json_as_their_types() -> None:
    """Dates are dates; what is not there has its default."""
    criteria = validate(Flights, {"from_date": "2024-01-01", "carriers": ["UA"]}, "ada")
    assert isinstance(criteria, Flights)
    assert (criteria.from_date, criteria.until_date, criteria.carriers) == (date(2024, 1, 1), None, ["UA"])


def test_a_model_itself_is_taken_too() -> None:
    """A producer in Python need not dump it."""
    assert validate(Flights, Flights(from_date=date(2024, 1, 1)), "ada").from_date == date(2024, 1, 1)


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ({}, {"from_date": ["Please fill this in."]}),
        ({"from_date": "2024-01-01", "carriers": ["UA", 1]}, {"carriers.1": ["This must be a text."]}),
        (
            {"from_date": "2024-01-02", "until_date": "2024-01-01"},
            {"": ["until_date is before from_date"]},
        ),
        ([], {"": ["These must be named fields."]}),
        ("text", {"": ["These must be named fields."]}),
        (None, {"": ["These must be named fields."]}),
    ],
)
def test_what_is_wrong_is_said_by_field(value: Any, fields: dict[str, list[str]]) -> None:
    """And under no name, where it concerns the whole."""
    refused = refusal(Flights, value)
    assert refused.fields == fields
    assert all(message in str(refused) for messages in fields.values() for message in messages)
    assert all(name in str(refused) for name in fields)


@pytest.mark.parametrize("field", list(Picky.model_fields))
@pytest.mark.parametrize(
    "value", [SECRET, [SECRET], {"kind": SECRET}, {SECRET: SECRET}, {"x": [{"y": SECRET}]}], ids=str
)
def test_no_message_shows_a_value(field: str, value: Any) -> None:
    """The message goes into the row, the log and a mail; a value may be nobody's business there."""
    refused = refusal(Picky, {field: value})
    assert field in str(refused)
    assert SECRET not in " ".join(message for messages in refused.fields.values() for message in messages)
    assert refused.__cause__ is None
    assert refused.__suppress_context__


def test_an_unknown_uuid_is_refused_without_its_letters() -> None:
    """Nor with one of them."""
    assert refusal(Picky, {"id": "z"}).fields == {"id": ["This is not a valid ID."]}


def test_an_unknown_tag_is_answered_with_the_known_ones() -> None:
    """What can be chosen is said, not what was."""
    assert refusal(Picky, {"shape": {"kind": SECRET}}).fields == {
        "shape": ["Please choose one of these as 'kind': 'circle', 'square'."]
    }


def test_a_message_with_braces_is_shown_as_it_is() -> None:
    """A pattern is no template."""
    assert refusal(Picky, {"code": "x"}).fields == {"code": [r"String should match pattern '^\{\}$'"]}


def test_a_field_that_is_not_declared_is_refused_where_the_model_says_so() -> None:
    """``extra="forbid"`` finds misspelt fields."""
    assert refusal(Strict, {**STRICT, "dya": 1}).fields == {"dya": ["There is no such field."]}


# -- who asks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "value"),
    [(Flights, {"from_date": "2024-01-01"}), (Strict, STRICT), (Open, {}), (None, "text"), (None, {"a": 1})],
)
@pytest.mark.parametrize("requester", ["ada@example.com", None])
def test_the_requester_is_the_rows(model: type[BaseModel] | None, value: Any, requester: str | None) -> None:
    """Frozen models and those that forbid other fields have it too."""
    assert validate(model, value, requester).requester == requester


@pytest.mark.parametrize("name", ["requester", "_requester"])
@pytest.mark.parametrize("model", [Open, None, Picky])
def test_the_requester_is_never_in_the_json(model: type[BaseModel] | None, name: str) -> None:
    """Who writes another's name into the criteria is still who they are."""
    assert validate(model, {name: "mallory"}, "ada").requester == "ada"
    assert validate(model, {name: "mallory"}, None).requester is None


def test_a_forbidding_model_refuses_a_requester() -> None:
    """It is no field of its own."""
    assert list(refusal(Strict, {**STRICT, "requester": "mallory"}).fields) == ["requester"]


def test_two_requesters_of_the_same_criteria_do_not_meet() -> None:
    """The class is shared, and the requester is not."""
    ada, grace = validate(None, 1, "ada"), validate(None, 1, "grace")
    assert type(ada) is type(grace)
    assert (ada.requester, grace.requester) == ("ada", "grace")


def test_the_requester_is_not_stored_with_the_criteria() -> None:
    """What is dumped is what was chosen."""
    assert dump(validate(Flights, {"from_date": "2024-01-01"}, "ada")) == {
        "from_date": "2024-01-01",
        "until_date": None,
        "carriers": [],
    }


@pytest.mark.parametrize("depth", [240, 300, 900])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("model", [Open, None])
def test_what_is_nested_too_deeply_is_invalid(
    model: type[BaseModel] | None, opened: str, closed: str, depth: int
) -> None:
    """JSON that a client can send and nobody can keep is its sender's fault."""
    value = json.loads(f'{{"x": {opened * depth}1{closed * depth}}}')
    assert list(refusal(model, value).fields) == [""]


@pytest.mark.parametrize("model", [Open, None])
def test_half_a_character_in_a_name_is_invalid(model: type[BaseModel] | None) -> None:
    """JSON can spell it, and UTF-8 can't."""
    assert list(refusal(model, json.loads('{"\\ud800": 1}')).fields) == [""]


# -- back to JSON ---------------------------------------------------------------------------------


def test_a_strict_and_frozen_model_makes_the_round_trip() -> None:
    """JSON has fewer types than Python: a date in it is a text, even to a strict model."""
    criteria = validate(Strict, STRICT, "ada")
    assert (criteria.day, criteria.tags, criteria.pair) == (date(2024, 2, 29), frozenset("a"), (1, "x"))
    stored = json.loads(json.dumps(dump(criteria)))
    assert validate(Strict, stored, "ada") == criteria
    assert "year" not in stored


@pytest.mark.parametrize(
    "value",
    [
        {"from": "2024-01-01", "to": "2024-01-02", "inner": {"atLeast": 1}},
        {"since": "2024-01-01", "until": "2024-01-02", "inner": {"at_least": 1}},
    ],
)
def test_aliases_make_the_round_trip(value: Any) -> None:
    """Fields may be given by alias or by name, and are stored by name."""
    criteria = validate(Aliased, value, "ada")
    assert dump(criteria) == {"since": "2024-01-01", "until": "2024-01-02", "inner": {"at_least": 1}}
    assert validate(Aliased, dump(criteria), "ada") == criteria


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_without_a_class_any_json_makes_the_round_trip(value: Any) -> None:
    """A text, a list, an object: it is what was sent."""
    criteria = validate(None, value, "ada")
    assert isinstance(criteria, PlainCriteria)
    assert criteria.value == value
    assert dump(criteria) == value


def test_python_values_are_stored_as_json() -> None:
    """A producer may send what JSON has no type for."""
    assert dump({"day": date(2024, 1, 1), "amount": Decimal("1.50"), "ids": {UUID(int=1)}}) == {
        "day": "2024-01-01",
        "amount": "1.50",
        "ids": ["00000000-0000-0000-0000-000000000001"],
    }


def test_numbers_that_json_lacks_are_stored_as_texts() -> None:
    """PostgreSQL refuses them in JSON; a float field reads them all the same."""

    class Limits(BaseModel):
        low: float
        high: float

    stored = dump(Limits(low=float("-inf"), high=float("nan")))
    assert stored == {"low": "-Infinity", "high": "NaN"}
    assert validate(Limits, stored, None).low == float("-inf")


def test_what_json_can_not_hold_is_refused() -> None:
    """At the producer's, not in a worker."""
    with pytest.raises(ValueError, match="Unable to serialize unknown type"):
        dump({"source": object()})
