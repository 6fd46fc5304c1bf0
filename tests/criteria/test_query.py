"""A form's fields, kept as they came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict
from werkzeug.test import create_environ
from werkzeug.wrappers import Request

from bgtasks.criteria import CSRF_FIELDS, QueryCriteria, dump, validate

fields = st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))), max_size=6)


class Chosen(QueryCriteria):
    """An application's own."""

    @property
    def carriers(self) -> list[str]:
        return self.fields.getlist("carrier")


def test_a_plain_string_is_the_query() -> None:
    """As a producer sends it, and as the row keeps it."""
    for value in ("carrier=UA&carrier=B6", {"raw": "carrier=UA&carrier=B6"}):
        criteria = validate(Chosen, value, "ada")
        assert (criteria.raw, criteria.carriers, criteria.requester) == ("carrier=UA&carrier=B6", ["UA", "B6"], "ada")
        assert validate(Chosen, dump(criteria), "ada") == criteria


@pytest.mark.parametrize("value", ["", {}, {"raw": ""}])
def test_nothing_chosen_is_an_empty_query(value: object) -> None:
    """It has no fields, and is valid."""
    assert list(validate(QueryCriteria, value, None).fields.items(multi=True)) == []


def test_a_form_keeps_its_repeated_and_empty_fields() -> None:
    """All of a select's choices, in their order."""
    environ = create_environ(method="POST", data={"carrier": ["UA", "B6"], "note": "", "ü": "ö & ="})
    criteria = QueryCriteria.of(Request(environ).form)
    assert criteria.raw == "carrier=UA&carrier=B6&note=&%C3%BC=%C3%B6+%26+%3D"
    assert list(criteria.fields.items(multi=True)) == [
        ("carrier", "UA"),
        ("carrier", "B6"),
        ("note", ""),
        ("ü", "ö & ="),
    ]


@given(fields)
def test_a_multi_dict_makes_the_round_trip(pairs: list[tuple[str, str]]) -> None:
    """Whatever the fields' names and texts are."""
    given_fields = MultiDict(pairs)
    assert QueryCriteria.of(given_fields).fields == given_fields


@pytest.mark.parametrize("name", [*sorted(CSRF_FIELDS), "CSRFMiddlewareToken", "csrf%5Ftoken"])
def test_sanitizing_drops_tokens(name: str) -> None:
    """Whatever framework made the form; they protect the form, and are nobody's criteria."""
    criteria = QueryCriteria(raw=f"b=1&{name}=secret&a=2&{name}=")
    assert criteria.sanitize().raw == "b=1&a=2"
    assert "secret" in criteria.raw


@pytest.mark.parametrize("raw", ["", "b=1&a=2&b=3&c", "a=%FF&b=+%20", "token=mine&csrf=theirs&a=csrf_token"])
def test_sanitizing_leaves_all_else_as_it_came(raw: str) -> None:
    """Byte for byte, in order, repeated fields too."""
    assert QueryCriteria(raw=raw).sanitize().raw == raw


def test_sanitizing_keeps_the_class_and_the_requester() -> None:
    """It is the same question by the same user."""
    sanitized = validate(Chosen, "carrier=UA&_token=x", "ada").sanitize()
    assert (sanitized.carriers, sanitized.requester, sanitized.raw) == (["UA"], "ada", "carrier=UA")
