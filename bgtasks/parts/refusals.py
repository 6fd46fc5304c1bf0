"""Which selects can't be split: those of which the parts, one after the other, would not be the whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Over, Select, SelectBase
from sqlalchemy.sql.elements import ClauseElement

from bgtasks.errors import ImproperlyConfigured

DIALECTS = ("postgresql", "sqlite")

#: By a clause that says something of all rows: where SQLAlchemy keeps it, without a public name.
_CLAUSES = {
    "LIMIT": "_limit_clause",
    "OFFSET": "_offset_clause",
    "FETCH": "_fetch_clause",
    "DISTINCT": "_distinct",
    "GROUP BY": "_group_by_clauses",
    "HAVING": "_having_criteria",
    "FOR UPDATE": "_for_update_arg",
}


def require_divisible(source: Any, dialect: str) -> Select[Any]:
    """The select that ``get_items`` has returned. Raises: ImproperlyConfigured, which says why it can't be split.

    :param dialect: the name of its database's.
    """
    if not isinstance(source, Select):
        raise ImproperlyConfigured(
            f"a file in parts is made of a select, and get_items has returned {type(source).__name__}"
        )
    if dialect not in DIALECTS:
        raise ImproperlyConfigured(f"a file in parts is read from one of {', '.join(DIALECTS)}, and not {dialect}")
    if fault := next(_faults(source), None):
        raise ImproperlyConfigured(
            f"a select with {fault} can't be split: each part would have one of its own (put it into a subquery)"
        )
    return source


def _faults(source: Select[Any]) -> Iterator[str]:
    for name, attribute in _CLAUSES.items():
        found = getattr(source, attribute)
        if found is not None and found is not False and found != ():
            yield name
    if any(map(_has_window, [*source._raw_columns, *source._order_by_clauses])):  # noqa: SLF001 - as above
        yield "window functions"


def _has_window(element: ClauseElement) -> bool:
    """Whether a value is computed of other rows too. A subquery's rows stay as they are."""
    if isinstance(element, SelectBase):
        return False
    return isinstance(element, Over) or any(map(_has_window, element.get_children()))
