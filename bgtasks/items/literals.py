"""Values as PostgreSQL's SQL has them, each of the type that it has as a parameter of psycopg's.

(``psycopg.sql.Literal`` writes numbers without a type: 5 is then an integer and no smallint, 0.5 no double.)
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID


def literal(value: Any) -> str | None:
    """The text of a number, a date, a time, a flag or a UUID; None, where a parameter has to hold it.

    A text or bytes could have a quote in them, or be a person's name.
    """
    form = _FORMS.get(type(value))
    return form and form(value)


def _integer(value: int) -> str:
    return "smallint" if -(2**15) <= value < 2**15 else "integer" if -(2**31) <= value < 2**31 else "bigint"


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        return f"'{value.isoformat(' ')}'::timestamp"
    return f"'{value.astimezone(UTC).isoformat(' ')}'::timestamptz"


#: A number is in quotes too: in ``-1::smallint`` the minus would come after the cast. Times as in ISO 8601 are the
#: same for every ``DateStyle``.
_FORMS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "NULL",
    bool: lambda value: f"'{value}'::boolean",
    int: lambda value: f"'{value}'::{_integer(value)}",
    float: lambda value: f"'{value!r}'::float8",
    Decimal: lambda value: f"'{value:f}'::numeric",
    date: lambda value: f"'{value.isoformat()}'::date",
    datetime: _moment,
    UUID: lambda value: f"'{value}'::uuid",
}
