"""What is wrong with how a file type declares its parts is said when it is registered, or else to who reads the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sqlalchemy import select

from bgtasks import registry, toolbox
from bgtasks.canvas import STEPS
from bgtasks.deployment import Deployment
from bgtasks.errors import BgtasksError, ImproperlyConfigured, RequestFailed
from bgtasks.file_types import FileType
from bgtasks.formats.csv import Csv
from tasks.login_events import LoginEvent
from tests.support.divided import fill
from tests.support.handmade import REQUESTER, fresh

KEY = {"part_key": LoginEvent.id}
TWO = {**KEY, "parts": 2}
#: A name that a step of the user's own could have.
SCAN = "scan"


def own(self: Any, *arguments: Any) -> Any:
    """A method of the user's own."""


def declared(**attributes: Any) -> type[FileType]:
    """A file type that declares this."""
    return type("Declared", (FileType,), {"file_type": "declared", "notifiers": (), **attributes})


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({**KEY, "parts": 0}, "parts needs a whole number from 1, or None: 0"),
        ({**KEY, "parts": 2.0}, "parts needs a whole number from 1"),
        ({**KEY, "parts": True}, "parts needs a whole number from 1"),
        ({**TWO, "max_parts_at_once": 0}, "max_parts_at_once needs a whole number from 1"),
        ({"parts": 2}, r"Declared\.parts needs a part_key"),
        ({"get_parts": own}, r"Declared\.get_parts needs a part_key"),
        ({"part_until": "at"}, "part_until needs a part_key"),
        ({"get_part_until": own}, "part_until needs a part_key"),
        ({"part_key": 7}, "part_key needs a column, the name of one, or None: 7"),
        ({"part_key": ""}, "part_key needs a column"),
        ({**TWO, "part_until": LoginEvent}, "part_until needs a column"),
        ({**TWO, "formats": ("csv", "xlsx")}, "those of xlsx can't"),
        ({**TWO, "formats": ("parquet",)}, "those of parquet can't"),
        ({**TWO, "formats": ("csv", "zip")}, "those of zip can't: write a get_parts that returns 1 for that"),
        ({**TWO, "write_bytes": own}, "write_bytes is its own: its parts need a write_part"),
        ({**KEY, "get_parts": own, "write_bytes": own}, "write_bytes is its own"),
        ({**TWO, "steps": ("write_bytes", "build_items", "attach")}, "steps needs build_items, right after it"),
        ({**TWO, "steps": ("fetch_criteria", "write_bytes", "attach")}, "steps needs build_items, right after it"),
        ({**TWO, "steps": ("build_items", SCAN, "write_bytes", "attach")}, "steps needs build_items, right after it"),
        ({**TWO, "steps": ("build_items", "write_bytes")}, "a step that comes later"),
    ],
)
def test_parts_that_can_not_be(attributes: dict[str, Any], reason: str) -> None:
    """Each is refused with a sentence that names the class, and what it needs."""
    with pytest.raises(ImproperlyConfigured, match=reason) as refused:
        registry.register(declared(**attributes))
    assert "Declared" in str(refused.value)


@pytest.mark.parametrize(
    "attributes",
    [
        {**TWO, "formats": ("csv", "jsonl", "csv.gz", "jsonl.zst", Csv())},
        {"part_key": "id", "part_until": "at", "parts": 2, "max_parts_at_once": 1},
        {"get_part_key": own, "get_part_until": own, "parts": 2},
        {**KEY, "get_parts": own, "formats": ("csv", "xlsx")},
        {**TWO, "write_bytes": own, "write_part": own, "formats": ("xlsx",)},
        {**TWO, "steps": (SCAN, *STEPS[:3], "tell", *STEPS[3:])},
        # A key alone splits nothing: such a type is free to do as it likes.
        {**KEY, "parts": 1, "formats": ("csv", "zip"), "write_bytes": own, "steps": ("build_items", SCAN, "attach")},
    ],
)
def test_parts_that_can_be(attributes: dict[str, Any]) -> None:
    """What works, and what may work for some requests, is registered."""
    assert registry.register(declared(**attributes)).file_type == "declared"


class Events(FileType):
    """Two parts of whatever was asked for, by a column that is an attribute of a model."""

    file_type = "events"
    formats = ("csv", "xlsx")
    part_key = LoginEvent.id
    part_until = LoginEvent.at
    notifiers = ()

    def get_items(self, criteria: Any) -> Any:
        return select(LoginEvent).order_by(LoginEvent.id)

    def get_parts(self, criteria: Any, count: int) -> int:
        return 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_format_without_parts_is_refused_when_it_is_asked_for(
    parts: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what to write; the requester, who can't, that it is nothing of theirs. Another format has parts."""
    registry.register(Events)
    fill(parts, 9)
    with caplog.at_level(logging.ERROR), pytest.raises(RequestFailed):
        registry.dispatch((refused := asked("xlsx")).id)
    row = fresh(parts, refused)
    assert (row.error_code, row.error_message) == (ImproperlyConfigured.error_code, BgtasksError().told())
    assert (
        "Events.get_parts wants 2 parts of a file in the format xlsx, whose files can't be put together" in caplog.text
    )
    made = asked("csv")
    assert registry.dispatch(made.id)
    row = fresh(parts, made)
    assert (row.rows_written, row.parts_done, row.parts_total) == (9, 2, 2)


class Latest(Events):
    """A select that can't be split."""

    file_type = "latest"
    get_parts = FileType.get_parts

    def get_items(self, criteria: Any) -> Any:
        return super().get_items(criteria).limit(5)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_key_alone_splits_nothing(parts: Deployment) -> None:
    """Such a file has one writer, and its select may be any."""
    registry.register(Latest)
    fill(parts, 9)
    made = toolbox.add_request({}, "latest", REQUESTER, schedule=True)
    assert registry.dispatch(made.id)
    assert (fresh(parts, made).rows_written, fresh(parts, made).parts_total) == (5, None)


def asked(format: str) -> Any:
    """A request for events."""
    return toolbox.add_request({}, "events", REQUESTER, format=format, schedule=True)
