"""A Django queryset is what ``get_items`` may return: counted and streamed by its database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bgtasks.items import BATCH, Items

COUNT = 3 * BATCH


@pytest.fixture(autouse=True, scope="module")
def _groups(django_project: None) -> Iterator[None]:
    from django.contrib.auth.models import Group

    Group.objects.bulk_create(Group(name=f"group {number:05}") for number in range(COUNT))
    yield
    Group.objects.all().delete()


def groups() -> Any:
    """All of them."""
    from django.contrib.auth.models import Group

    return Group.objects.order_by("name")


def read(source: Any) -> tuple[Any, list[tuple[Any, ...]]]:
    """Headings, and the first rows."""
    with Items(source).open() as rows:
        return rows.columns, [tuple(row) for row in next(rows.batches)[:2]]


def test_it_is_counted_by_its_database() -> None:
    """And its rows are not loaded for that, as ``len()`` would."""
    found = groups().values_list("name")
    with CaptureQueriesContext(connection) as queries:
        assert Items(found).count() == COUNT
    assert "COUNT(*)" in queries.captured_queries[0]["sql"]
    assert found._result_cache is None


def test_it_is_read_batch_by_batch_and_again() -> None:
    """It keeps none of its rows, and can be read a second time, as for a file beside the worker's."""
    found = groups().values_list("name")
    items = Items(found)
    for _ in range(2):
        with items.open() as rows:
            assert [len(batch) for batch in rows.batches] == [BATCH] * 3
    assert found._result_cache is None


@pytest.mark.parametrize(
    ("choose", "columns"),
    [
        (lambda found: found.values("name"), ("name",)),
        (lambda found: found.values_list("name"), ("name",)),
        (lambda found: found.values_list("name", named=True), ("name",)),
    ],
)
def test_its_columns_are_the_headings(choose: Any, columns: Any) -> None:
    """However its values come."""
    assert read(choose(groups())) == (columns, [("group 00000",), ("group 00001",)])


def test_columns_that_are_added_later_are_named_rightly_or_not_at_all() -> None:
    """A heading must never stand over another column."""
    from django.db.models import Count
    from django.db.models.functions import Upper

    counted = groups().values_list("name").annotate(users=Count("user"))
    assert read(counted)[0] in (("name", "users"), None)
    assert read(groups().values("name").annotate(users=Count("user")))[0] == ("name", "users")
    assert read(groups().values_list("name", Upper("name")))[1][0] == ("group 00000", "GROUP 00000")


def test_models_are_no_rows() -> None:
    """What their columns would be is for the file type to say, with ``values_list()``."""
    with pytest.raises(TypeError, match="not Group"):
        read(groups())
