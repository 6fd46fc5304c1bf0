"""django-import-export: a resource of a model, exported as its admin does. Run in the peer's environment."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.bench import once
from tests.bench.django_source import configure, event


def _prepared(file_format: str) -> once.Work:
    configure(["import_export"])
    from import_export import resources
    from import_export.formats import base_formats

    made: Any = getattr(base_formats, file_format)()

    def work(rows: int) -> int:
        chosen = event(rows).objects.using("source").order_by("id")
        resource = resources.modelresource_factory(event(rows))()
        contents = made.export_data(resource.export(chosen))
        path = once.folder() / "exported"
        return path.write_bytes(contents.encode() if isinstance(contents, str) else contents)

    return work


WAYS = {"csv": partial(_prepared, "CSV"), "xlsx": partial(_prepared, "XLSX")}

if __name__ == "__main__":
    once.main(WAYS)
