"""How many rows a select has, asked of its database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from sqlalchemy import Executable, GenerativeSelect, Select, SelectBase, func, select
from sqlalchemy.orm import LoaderCriteriaOption

AnySelect = TypeVar("AnySelect", bound=Select[Any])


def counting(source: SelectBase) -> Select[int]:
    """What counts the rows."""
    return alike(select(func.count()).select_from(_unordered(source).subquery()), source)


def alike(made: AnySelect, source: SelectBase) -> AnySelect:
    """What selects from another as a subquery, with the same schemas, and the same criteria of its ORM entities."""
    criteria = [option for option in getattr(source, "_with_options", ()) if isinstance(option, LoaderCriteriaOption)]
    return made.options(*criteria).execution_options(schema_translate_map=translated_schemas(source))


def translated_schemas(source: SelectBase) -> Mapping[Any, Any] | None:
    """What the select's own execution options call its schemas: often one for each customer."""
    options: Mapping[str, Any] = cast("Executable", source).get_execution_options()
    return options.get("schema_translate_map")


def _unordered(source: SelectBase) -> SelectBase:
    """The same rows in any order, which is cheaper to count."""
    return source.order_by(None) if isinstance(source, GenerativeSelect) else source
