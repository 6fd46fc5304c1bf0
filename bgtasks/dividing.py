"""How a file type has many workers write one file: what it declares, and what is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

from bgtasks import canvas, formats, routes
from bgtasks.errors import ImproperlyConfigured
from bgtasks.models import FileRequest, Part
from bgtasks.parts import narrowing, planning
from bgtasks.parts.keys import Key
from bgtasks.parts.planning import Plan
from bgtasks.parts.ranges import Range
from bgtasks.texts import zone_of


class Dividing:
    """The declarations of a file type that are about parts.

    The rows of its select are split by ranges of a key; each range is a part, which one worker writes; the parts are
    joined in the end. ``bgtasks.parts.planning`` says which rows are in the file.
    """

    #: In how many parts the file is written side by side; None: by one writer.
    parts: int | None = None
    #: What the rows are split by: a column of the select, such as ``Flight.id``, or its name. If the select has an
    #: order, it begins with this.
    part_key: Key | None = None
    #: A column of times: rows of later than the planning are left out. None: rows with higher keys than there were.
    part_until: Key | None = None
    #: How many of the parts wait for a worker or are written at once; None: all of them. The others let requests of the
    #: queue that have not begun go first.
    max_parts_at_once: int | None = None

    def get_parts(self, criteria: Any, count: int) -> int:
        """In how many parts the file is written side by side; 1: by one writer, as XLSX, Parquet and ZIP have to be.

        :param criteria: what was chosen, validated.
        :param count: how many rows there are.
        """
        return self.parts or 1

    def has_parts(self) -> bool:
        """Whether it may have parts at all: a key alone splits nothing."""
        return type(self).get_parts is not Dividing.get_parts or (self.parts or 1) > 1

    def get_part_key(self) -> Key | None:
        """What the rows are split by; None: the file is written by one writer."""
        return self._column("part_key")

    def get_part_until(self) -> Key | None:
        """A column of times: rows of later than the planning are left out."""
        return self._column("part_until")

    def get_max_parts_at_once(self) -> int | None:
        """How many of the parts wait for a worker or are written at once; None: all of them."""
        return self.max_parts_at_once

    def plan_parts(self: Any, dataset: Any) -> Plan | None:
        """Into which ranges the rows are split; None: this type has no parts.

        Raises: ImproperlyConfigured, where they can't be split, or the format's files can't be joined.
        """
        key = self.get_part_key() if self.has_parts() else None
        if key is None:
            return None
        items, wanted = dataset.items, lambda count: self._wanted(dataset.criteria, count)
        return planning.plan(items.source, key, wanted, items.database, self.get_part_until())

    def _wanted(self: Any, criteria: Any, count: int) -> int:
        """Asked before the keys are: in vain for a format whose files can't be joined. Raises: ImproperlyConfigured."""
        wanted: int = self.get_parts(criteria, count)
        if wanted > 1 and type(self).write_part is Dividing.write_part:
            chosen = self.get_format()
            if not formats.has_parts(chosen):
                named = f"{type(self).__name__}.get_parts wants {wanted} parts of a file in the format {chosen.name}"
                raise ImproperlyConfigured(f"{named}, whose files can't be put together: it needs to return 1 for that")
        return wanted

    def _column(self, name: str) -> Key | None:
        """As it was declared: an ORM attribute would take this for a row of its own, and look its value up."""
        return vars(self).get(name, getattr(type(self), name))

    def restore_part(self: Any, file_request: FileRequest, range: Range) -> Any:
        """The dataset of one part. Raises: InvalidCriteria, ImproperlyConfigured."""
        dataset = self.restore_dataset(file_request)
        key, until = self.get_part_key(), self.get_part_until()
        dataset.items.source = narrowing.narrowed(dataset.items.source, key, range, until)
        return dataset

    def write_part(self: Any, dataset: Any, buffer: BinaryIO, number: int) -> None:
        """Write one part. Override it together with ``write_bytes``: joined byte by byte, they are the file.

        :param number: from 0; the first one has what the file begins with, such as a heading.
        """
        part = formats.part_of(self.get_format(), number)
        part.write(dataset.items, buffer, zone_of(self.file_request))

    def parts_canvas(self: Any, file_request: FileRequest, parts: Sequence[Part]) -> Any:
        """The Celery group of some parts that wait for a worker."""
        options, limit, most = self.get_celery_kwargs(), self.get_time_limit(), self.get_max_parts_at_once()
        queue = routes.of(self, file_request)
        return canvas.build_parts(file_request, parts, queue, options, time_limit=limit, at_once=most)
