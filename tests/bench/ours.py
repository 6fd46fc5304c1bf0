"""Our formats, each by its roads, from PostgreSQL into an object of a store on a disk, hashed on the way."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from celery import Celery
from sqlalchemy import Select

from bgtasks import formats, install
from bgtasks.formats import Format
from bgtasks.formats.csv import Csv
from bgtasks.items import Items
from bgtasks.stores import Store
from tests.bench import data, once

#: What the Arrow road is made of: without them there are tuples.
ARROW = ("adbc_driver_manager", "adbc_driver_postgresql", "adbc_driver_sqlite", "pyarrow")


def _bound(rows: int) -> Select[tuple[object, ...]]:
    """The same rows by a select with a parameter, as most of them are."""
    return data.everything(rows).where(data.table(rows).c.id >= 0)


def _prepared(
    chosen: str | Format, has_arrow: bool = True, source: Callable[[int], Select[tuple[object, ...]]] = data.everything
) -> once.Work:
    if not has_arrow:
        sys.modules.update(dict.fromkeys(ARROW))  # type: ignore[arg-type]
    app = Celery("bench", broker="memory://", set_as_current=False)
    app.conf.update(
        bgtasks_database_url="sqlite://", bgtasks_store_url=str(once.folder()), bgtasks_default_key="a key " * 6
    )
    install(app)
    app.set_current()
    made, store = formats.resolve(chosen), Store(str(once.folder()), Path())

    def work(rows: int) -> int:
        with store.open_writer("export/1") as buffer:
            made.write(Items(source(rows), once.url()), cast("BinaryIO", buffer))
            buffer.commit()
        return buffer.size

    return work


#: The formats in which no text is changed, and the Arrow road or the other one.
WAYS = {
    **{name: partial(_prepared, name) for name in ("csv", "xlsx", "jsonl", "parquet")},
    **{
        f"{name}.{packed}": partial(_prepared, f"{name}.{packed}")
        for name in ("csv", "jsonl")
        for packed in ("gz", "zst")
    },
    **{f"{name}-tuples": partial(_prepared, name, False) for name in ("csv", "xlsx", "jsonl")},
    "csv-plain": partial(_prepared, Csv(neutralise=False)),
    "csv-plain-tuples": partial(_prepared, Csv(neutralise=False), False),
    "csv-bound": partial(_prepared, "csv", True, _bound),
}

if __name__ == "__main__":
    once.main(WAYS)
