"""How many rows a select has, asked of its database."""

from __future__ import annotations

from sqlalchemy import GenerativeSelect, Select, SelectBase, func, select
from sqlalchemy.orm import LoaderCriteriaOption

from bgtasks.items.statements import translated_schemas


def counting(source: SelectBase) -> Select[int]:
    """What counts the rows, of the same schemas and with the same criteria of its ORM entities."""
    made = select(func.count()).select_from(_unordered(source).subquery())
    criteria = [option for option in getattr(source, "_with_options", ()) if isinstance(option, LoaderCriteriaOption)]
    return made.options(*criteria).execution_options(schema_translate_map=translated_schemas(source))


def _unordered(source: SelectBase) -> SelectBase:
    """The same rows in any order, which is cheaper to count."""
    return source.order_by(None) if isinstance(source, GenerativeSelect) else source
