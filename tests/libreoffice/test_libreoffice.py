"""Workbooks opened by a real LibreOffice, which makes CSV of them."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from bgtasks.formats.csv import Csv
from bgtasks.formats.xlsx import Xlsx
from bgtasks.formats.xlsx import sheets as sheets_module
from bgtasks.items import Items
from tests.support.services import missing

PATIENCE = 120  # seconds; the first start makes a profile
#: Comma, quote, UTF-8, from line 1; cells as shown, numbers and not texts without quotes, and all sheets.
FILTER = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"
ZURICH = ZoneInfo("Europe/Zurich")
NOON = datetime(2024, 2, 29, 12, 30, 1)  # noqa: DTZ001 - Excel's times have no zone

HEADINGS = ("id", "naive", "day", "clock", "amount", "ratio", "text", "note")
TEXTS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(1;1)",
    "{=1}",
    "=HYPERLINK(\"http://example.com/\";\"x\")",
    "Zoë Müller",
    "山田太郎",
    "😀 עברית",
    'she said "no", and left; really',
    "two\nlines",
    " blanks ",
    "a\ttab",
    "<b>&amp;</b>",
    "<r><t>x</t></r>",
    "]]>",
    "_x0041_",
    "_x005F_x0041_",
    "0012",
    "1e5",
    "2024-02-29",
    "true",
    "#N/A",
    "'quoted",
)  # fmt: skip


def rows() -> list[tuple[Any, ...]]:
    """Values that both forms show in the same way."""
    return [
        (
            number,
            NOON + timedelta(hours=number),
            date(1900, 3, 1) + timedelta(days=997 * number),
            time(number % 24, 59, 1),
            Decimal(number * 7) / 100,
            (number + 0.5) / 8,
            text,
            None if number % 2 else text * 20,
        )
        for number, text in enumerate(TEXTS)
    ]


def converted(source: Sequence[Any], folder: Path, headings: Sequence[str] = HEADINGS) -> dict[str, list[list[str]]]:
    """What LibreOffice makes of a workbook: the lines of each of its sheets."""
    program = shutil.which("soffice")
    if program is None:
        missing("LibreOffice")
    path = folder / "made.xlsx"
    with path.open("wb") as file:
        Xlsx().write(Items(source, columns=headings), file, ZURICH)
    argv = [program, f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless", "--norestore"]
    argv += ["--convert-to", FILTER, "--outdir", str(folder / "out"), str(path)]
    # Where clocks have 24 hours: the reader's country decides how a time of day is shown.
    env = {**os.environ, "LC_ALL": "en_GB.UTF-8"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    made = {found.stem.removeprefix("made-"): lines(found.read_bytes()) for found in (folder / "out").glob("*.csv")}
    assert made, done.stdout + done.stderr
    return made


def as_csv(source: Sequence[Any], headings: Sequence[str] = HEADINGS) -> list[list[str]]:
    """The lines of our own CSV; formulas as they are, which in a workbook are texts in any case."""
    buffer = io.BytesIO()
    Csv(neutralise=False).write(Items(source, columns=headings), buffer, ZURICH)
    return lines(buffer.getvalue())


def lines(contents: bytes) -> list[list[str]]:
    """The cells of a CSV file."""
    return list(csv.reader(io.StringIO(contents.decode("utf-8-sig"), newline="")))


def test_a_workbook_is_opened_as_it_was_written(tmp_path: Path) -> None:
    """Its one sheet, as CSV, is our CSV of the same rows: numbers, dates, texts that look like something else."""
    assert converted(rows(), tmp_path) == {"Sheet1": as_csv(rows())}


def test_what_the_two_forms_show_differently_is_the_same_value(tmp_path: Path) -> None:
    """Excel's booleans are capitals, its times are local and without an offset, its durations have two-digit hours."""
    moment = datetime(2024, 7, 1, 12, tzinfo=UTC)
    odd = [
        (True, moment, timedelta(hours=3), 2**53 + 1, float("nan"), UUID(int=1), b"\x00"),
        (False, moment + timedelta(days=200), timedelta(hours=26), -5, float("inf"), None, b"\xff"),
    ]
    names = ("yes", "at", "span", "large", "nan", "uuid", "bytes")
    expected = as_csv(odd, names)
    assert expected[1][:3] == ["true", "2024-07-01 14:00:00+02:00", "3:00:00"]
    expected[1][:3] = ["TRUE", "2024-07-01 14:00:00", "03:00:00"]
    expected[2][:3] = ["FALSE", "2025-01-17 13:00:00", "26:00:00"]
    assert converted(odd, tmp_path, names)["Sheet1"] == expected


def test_rows_go_on_in_the_next_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All sheets are found, each with the headings, and none of the rows is lost."""
    monkeypatch.setattr(sheets_module, "SHEET_ROWS", 10)
    made = converted(rows(), tmp_path)
    heading, *expected = as_csv(rows())
    assert sorted(made) == ["Sheet1", "Sheet2", "Sheet3"]
    assert [made[name][0] for name in sorted(made)] == [heading] * 3
    assert [line for name in sorted(made) for line in made[name][1:]] == expected


def test_many_rows_are_all_opened(tmp_path: Path) -> None:
    """More than are made at once."""
    many = [(number, NOON + timedelta(seconds=number), f"{TEXTS[number % len(TEXTS)]}") for number in range(20_000)]
    names = ("id", "at", "text")
    assert converted(many, tmp_path, names) == {"Sheet1": as_csv(many, names)}
