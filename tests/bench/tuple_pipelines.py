"""Bare pipelines of tuples: a driver, a library that writes, and nothing in between."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests.bench import once
from tests.bench.once import COLUMNS

FETCH = 2000  # rows that the driver hands over at once
#: XlsxWriter's words for cells as they are: texts are texts, and times are in UTC.
XLSX = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "remove_timezone": True,
    "default_date_format": "yyyy-mm-dd hh:mm:ss",
}


def _csv() -> once.Work:
    def work(rows: int) -> int:
        with _file().open("w", encoding="utf-8", newline="") as output:
            writer = csv.writer(output)
            writer.writerow(COLUMNS)
            writer.writerows(_tuples(rows))
        return _size()

    return work


def _json() -> once.Work:
    def work(rows: int) -> int:
        with _file().open("w", encoding="utf-8") as output:
            for row in _tuples(rows):
                output.write(json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False, default=str) + "\n")
        return _size()

    return work


def _xlsx() -> once.Work:
    import xlsxwriter  # here, so that it is in nobody else's memory

    def work(rows: int) -> int:
        with xlsxwriter.Workbook(str(_file()), XLSX) as book:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, COLUMNS)
            for number, row in enumerate(_tuples(rows), 1):
                sheet.write_row(number, 0, row)
        return _size()

    return work


def _tuples(rows: int) -> Iterator[tuple[Any, ...]]:
    with psycopg.connect(once.url()) as connection, connection.cursor() as cursor:
        yield from cursor.stream(once.SELECT.format(rows), size=FETCH)


def _file() -> Path:
    return once.folder() / "bare"


def _size() -> int:
    return _file().stat().st_size


WAYS = {"csv": _csv, "jsonl": _json, "xlsx": _xlsx}

if __name__ == "__main__":
    once.main(WAYS)
