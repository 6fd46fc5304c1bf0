"""How many rows a select has, asked of its database."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import GenerativeSelect, Select, SelectBase, func, select
from sqlalchemy.orm import LoaderCriteriaOption

from bgtasks.items.statements import translated_schemas

AnySelect = TypeVar("AnySelect", bound=Select[Any])


def counting(source: SelectBase) -> Select[int]:
    """What counts the rows."""
    return alike(select(func.count()).select_from(_unordered(source).subquery()), source)


def alike(made: AnySelect, source: SelectBase) -> AnySelect:
    """What selects from another as a subquery, with the same schemas, and the same criteria of its ORM entities."""
    criteria = [option for option in getattr(source, "_with_options", ()) if isinstance(option, LoaderCriteriaOption)]
    return made.options(*criteria).execution_options(schema_translate_map=translated_schemas(source))


def _unordered(source: SelectBase) -> SelectBase:
    """The same rows in any order, which is cheaper to count."""
    return source.order_by(None) if isinstance(source, GenerativeSelect) else source
