"""dj-bgfiles: a request of its own, handled by its own pattern. Run in the peer's environment, with its Django."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from functools import partial
from typing import Any

import django.utils.encoding
from django.db import transaction

from tests.bench import once
from tests.bench.django_source import configure, event

# Gone since Django 3.0; dj-bgfiles 0.6 imports it, and no older Django runs on this Python.
django.utils.encoding.python_2_unicode_compatible = lambda cls: cls


def _prepared(write: Any, iterates: bool = False) -> once.Work:
    configure(["bgfiles"])
    from bgfiles import toolbox
    from bgfiles.models import FileRequest
    from bgfiles.patterns import registry
    from bgfiles.patterns.base import FullPattern, QueryDictCriteria
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    user = User.objects.create(username="ada")

    class Export(FullPattern):
        file_type = "events"
        criteria_class = QueryDictCriteria

        def get_items(self, criteria: Any) -> Any:
            chosen = event(int(criteria.raw["rows"])).objects.using("source").order_by("id").values_list(*once.COLUMNS)
            return chosen.iterator() if iterates else chosen

        def write_bytes(self, dataset: Any, output: Any) -> None:
            write(dataset.items, output)

        def send_notification(self, file_request: Any, token: str) -> None:
            """Nobody is told."""

        def get_filename(self) -> str:
            return "events"

    registry.register(Export, ["events"])

    def work(rows: int) -> int:
        asked = toolbox.add_request(f"rows={rows}", "events", user)
        with transaction.atomic():
            registry.dispatch(asked.id)
        return int(FileRequest.objects.get(id=asked.id).filehandle.size)

    return work


def _csv(items: Iterable[tuple[Any, ...]], output: Any) -> None:
    text = io.TextIOWrapper(output, "utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(once.COLUMNS)
    writer.writerows(items)
    text.detach()


def _xlsx(items: Iterable[tuple[Any, ...]], output: Any) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(output, {"strings_to_formulas": False, "remove_timezone": True}) as book:
        moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, once.COLUMNS)
        for number, row in enumerate(items, 1):
            sheet.write_row(number, 0, row)
            sheet.write_datetime(number, 1, row[1], moment)


WAYS = {
    "csv": partial(_prepared, _csv),
    "csv-iterator": partial(_prepared, _csv, True),
    "xlsx": partial(_prepared, _xlsx, True),
}

if __name__ == "__main__":
    once.main(WAYS)
