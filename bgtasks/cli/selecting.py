"""Which request is meant: the beginning of an id will do, where no other id begins like it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from bgtasks.cli.base import NotThere, WrongUse

if TYPE_CHECKING:
    from bgtasks.models import FileRequest

#: How few letters of an id are taken: whoever writes fewer may mean anything.
SHORTEST = 4
_BEGINNING = re.compile(rf"[0-9a-fA-F-]{{{SHORTEST},36}}")
_AGE = re.compile(r"(\d+)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def found(beginning: str) -> FileRequest:
    """The one request whose id begins like this. Raises: NotThere, WrongUse."""
    from bgtasks import deployment

    if not _BEGINNING.fullmatch(beginning) or len(beginning.replace("-", "")) > 32:
        raise WrongUse(f"{beginning[:50]!r} is no id of a request, nor {SHORTEST} or more letters of one.")
    rows = deployment.current().requests.beginning_with(beginning, 2)
    if not rows:
        raise NotThere(f"There is no request {beginning}.")
    if len(rows) > 1:
        raise WrongUse(f"More than one id begins with {beginning}, such as {rows[0].id} and {rows[1].id}.")
    return rows[0]


class Since(click.ParamType[datetime]):
    """A time, or how long ago: ``2026-11-01``, ``2026-11-01T08:30``, ``90m``, ``24h``, ``7d``; in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> datetime:
        """The moment that is meant."""
        if isinstance(value, datetime):
            return value
        try:
            if age := _AGE.fullmatch(value):
                return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither a time, such as 2026-11-01T08:30, nor an age, such as 24h.", param, context
            )
