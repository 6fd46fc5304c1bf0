"""The same rows by each road."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import text

from bgtasks.deployment import Deployment
from bgtasks.items import Items


def as_tuples(items: Items) -> list[tuple[Any, ...]]:
    """All rows, as ``open`` gives them."""
    with items.open() as rows:
        return [tuple(map(comparable, row)) for batch in rows.batches for row in batch]


def as_arrow(items: Items) -> list[tuple[Any, ...]] | None:
    """The same from ``open_arrow``; None, where that is not the road."""
    with items.open_arrow() as rows:
        if rows is None:
            return None
        found: list[tuple[Any, ...]] = []
        for batch in rows.batches:
            columns = [rows.values(batch, number) for number in range(len(rows.kinds))]
            found += [tuple(map(comparable, row)) for row in zip(*columns, strict=True)]
        return found


def comparable(value: Any) -> Any:
    """With its type, since ``1 == True == 1.0``; and NaN, which equals nothing, by its name."""
    if isinstance(value, float) and math.isnan(value):
        return (float, "nan")
    return (type(value), str(value)) if type(value).__name__ == "Decimal" else (type(value), value)


def connections(parts: Deployment) -> int:
    """How many others are connected to the test's PostgreSQL database."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with parts.database.reading() as session:
        return int(session.scalar(text(others)) or 0)
