"""What a select's rows are split by: a column of its own, whichever way it is named, and its place in the order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Label, Select, UnaryExpression
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.selectable import Join

from bgtasks.errors import ImproperlyConfigured

#: What a key is called by: an ORM attribute, a column, any expression, or the name of a column.
Key = Any

_ORDERS = (operators.asc_op, operators.desc_op, operators.nulls_first_op, operators.nulls_last_op)


@dataclass(frozen=True)
class Order:
    """How a select sorts its rows by the key."""

    descending: bool = False
    nulls_first: bool = False  #: whether the rows without a key come before the others


def column(source: Select[Any], key: Key, named: str = "part_key") -> ColumnElement[Any]:
    """The expression that a key is.

    :param named: what the file type calls it.
    Raises: ImproperlyConfigured, where the select has no such column.
    """
    if isinstance(key, str):
        return _by_name(source, key, named)
    found = key.__clause_element__() if hasattr(key, "__clause_element__") else key
    if not isinstance(found, ColumnElement):
        raise ImproperlyConfigured(f"{named} is a column or the name of one, and not {type(key).__name__}")
    found = _bare(found)
    # A table more: each row of the one would come with each of the other.
    if len(source.where(found.is_not(None)).get_final_froms()) != len(source.get_final_froms()):
        raise ImproperlyConfigured(f"{named} is a column of a table that get_items does not select from: {found}")
    return found


def order(source: Select[Any], key: ColumnElement[Any], dialect: str) -> Order:
    """How the select sorts by the key; one without an order counts as sorted by it.

    :param dialect: the database's; each puts NULLs to another end.
    Raises: ImproperlyConfigured, where it sorts by something else first.
    """
    clauses = source._order_by_clauses  # noqa: SLF001 - it has no public name
    element, modifiers = _unwrapped(clauses[0]) if clauses else (key, set())
    if isinstance(name := getattr(element, "element", None), str):  # what order_by("name") has made of it
        element = next(iter(_selected(source, name)), element)
    if not isinstance(element, ClauseElement) or not element.compare(key):
        raise ImproperlyConfigured("get_items must sort by part_key first, or not at all")
    descending = operators.desc_op in modifiers
    usual = descending if dialect == "postgresql" else not descending
    first = operators.nulls_first_op in modifiers or (usual and operators.nulls_last_op not in modifiers)
    return Order(descending, first)


def _by_name(source: Select[Any], name: str, named: str) -> ColumnElement[Any]:
    found = _selected(source, name) or [
        table.c[name] for table in _tables(source.get_final_froms()) if name in getattr(table, "c", ())
    ]
    if not found or not all(each.compare(found[0]) for each in found):
        fault = "several columns" if found else "no column"
        raise ImproperlyConfigured(f"{named}: what get_items selects from has {fault} of the name {name!r}")
    return found[0]


def _selected(source: Select[Any], name: str) -> list[ColumnElement[Any]]:
    """The columns of the rows that have this name."""
    columns = [selected for selected in source.selected_columns if isinstance(selected, ColumnElement)]
    return [_bare(selected) for selected in columns if name in (selected.key, getattr(selected, "name", None))]


def _tables(froms: Iterable[Any]) -> Iterator[Any]:
    """What is joined, one by one."""
    for each in froms:
        yield from _tables([each.left, each.right]) if isinstance(each, Join) else [each]


def _bare(element: ColumnElement[Any]) -> ColumnElement[Any]:
    """Without the name that a select gives it."""
    return element.element if isinstance(element, Label) else element


def _unwrapped(clause: Any) -> tuple[Any, set[Any]]:
    """What an element of an ORDER BY sorts by, and how."""
    modifiers: set[Any] = set()
    while True:
        if isinstance(clause, UnaryExpression) and clause.modifier in _ORDERS:
            modifiers.add(clause.modifier)
        elif not isinstance(clause, Label) and clause.__visit_name__ != "label_reference":
            return clause, modifiers
        clause = clause.element
