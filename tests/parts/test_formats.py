"""Files in parts: put together, they are what a single writer gives, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bgtasks import formats
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured
from bgtasks.formats import Format
from bgtasks.formats.compressed import Compressed
from bgtasks.formats.csv import Csv
from bgtasks.formats.jsonl import JsonLines
from bgtasks.formats.parquet import Parquet
from bgtasks.formats.xlsx import Xlsx
from bgtasks.formats.zip import Zip
from bgtasks.items import Items
from tests.formats.roads import written, zones
from tests.formats.test_selects import Tuples, Watched
from tests.items import tables
from tests.items.tables import FINISHED, PLAIN, everything
from tests.parts.keyed import pieces, plain, planned

FEW = settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
FORMS: list[Format] = [
    Csv(), Csv(bom=True, delimiter=";"), JsonLines(), Compressed(Csv(bom=True)), Compressed(JsonLines()),
    Compressed(Csv(), "zst"), Compressed(JsonLines(), "zst"),
]  # fmt: skip


class Plain(Csv):
    """A text format of somebody's own, whose files can't be put together."""

    part = None  # type: ignore[assignment]


@FEW
@given(data=st.data())
def test_parts_put_together_are_what_a_single_writer_gives(parts: Deployment, data: st.DataObject) -> None:
    """Of any rows, as tuples and by Arrow's road, with a beginning only where the file begins."""
    tables.metadata.create_all(parts.database.engine)
    tables.refill(data.draw(tables.rows(special=parts.database.is_postgresql)))
    # Only the first batch of a file tells that such a type makes aware times, whose heading names the zone.
    zone, names = data.draw(zones), ["id", *PLAIN, *(FINISHED.keys() - {"seconds"})]
    source = select(*(everything.c[name] for name in names)).order_by(everything.c.id)
    selects = pieces(source, "id", planned(source, "id", data.draw(st.integers(1, 4))))
    roads = [Watched, Tuples] if parts.database.is_postgresql else [Tuples]
    for form in FORMS:
        whole = plain(form.suffix, written(Tuples(source), form, zone))
        for road in roads:
            contents = [written(road(each), formats.part_of(form, number), zone) for number, each in enumerate(selects)]
            assert plain(form.suffix, b"".join(contents)) == whole


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_first_part_of_nothing_begins_the_file(form: Format) -> None:
    """And those after it add nothing to it."""
    whole = written(Items([], columns=["a", "b"]), form)
    contents = [written(Items([], columns=["a", "b"]), formats.part_of(form, number)) for number in range(3)]
    assert plain(form.suffix, b"".join(contents)) == plain(form.suffix, whole)
    assert plain(form.suffix, contents[1]) == b""


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_text_format_has_parts_of_its_own_kind(form: Format) -> None:
    """So that they are named and served alike."""
    assert formats.has_parts(form)
    assert formats.part_of(form, 0) == form
    assert (formats.part_of(form, 1).name, formats.part_of(form, 1).suffix) == (form.name, form.suffix)


@pytest.mark.parametrize("form", [Parquet(), Xlsx(), Zip(), Plain(), Compressed(Plain())], ids=lambda form: form.name)
def test_a_format_without_parts_is_refused_by_name(form: Any) -> None:
    """A file that is no file would be worse."""
    assert not formats.has_parts(form)
    name = form.format.name if isinstance(form, Compressed) else form.name
    with pytest.raises(ImproperlyConfigured, match=f"{name} can't be written in parts"):
        formats.part_of(form, 1)
