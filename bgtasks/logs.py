"""Logs that say which request and step a record is about: as JSON, or for a text format of one's own.

A record that is written within a step, by us, by a file type's own code or by a library, is about that step:
:class:`AboutFilter` gives it ``request_id``, ``file_type``, ``step``, ``fence`` and, where many workers write one file,
the number of the ``part``, from 1; :class:`JsonFormatter` writes them. Neither tells criteria, tokens or a task's
arguments.
"""

from __future__ import annotations

import json
import logging
import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from celery.signals import after_setup_logger, after_setup_task_logger
from celery.utils.log import get_multiprocessing_logger

from bgtasks import settings
from bgtasks.errors import ImproperlyConfigured

#: What a record is about, in this order; empty outside of steps.
FIELDS = ("request_id", "file_type", "step", "fence", "part")

#: What every record has: anything else was given to it as ``extra``.
_USUAL = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", *FIELDS}
#: Celery's own extra, which has a task's arguments; its name and id alone are nobody's secret.
_CELERYS = "data"
_OF_TASKS = {"task": "name", "task_id": "id"}

_about: ContextVar[dict[str, Any]] = ContextVar("bgtasks_about", default={})  # noqa: B039 - never changed


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Within this block, records are about this: what is named in ``FIELDS``."""
    token = _about.set(fields)
    try:
        yield
    finally:
        _about.reset(token)


class AboutFilter(logging.Filter):
    """Gives each record of a handler what it is about, with ``""`` for what is not known. It drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        known = _about.get()
        for name in FIELDS:
            if not hasattr(record, name):
                setattr(record, name, known.get(name, ""))
        return True


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: its time in UTC (ISO 8601), an exception as a field of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = json.dumps(_shown(record), ensure_ascii=False, default=_text)
        # Half of a surrogate pair, as in a file's name that is no UTF-8, is nothing that a log file takes as it is.
        return line.encode("utf-8", "backslashreplace").decode()


def _shown(record: logging.LogRecord) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
        "process": record.process,
    }
    known = _about.get()
    shown |= {name: value for name in FIELDS if (value := getattr(record, name, known.get(name, ""))) != ""}
    shown |= {name: value for name, value in _extra(record).items() if name not in shown}
    if record.exc_info and record.exc_info[0] is not None:
        kind = record.exc_info[0]
        text = "".join(traceback.format_exception(*record.exc_info))
        shown["exception"] = {"type": f"{kind.__module__}.{kind.__qualname__}", "traceback": text.rstrip("\n")}
    if record.stack_info:
        shown["stack"] = record.stack_info
    return shown


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    if record.name.startswith("celery."):
        own = getattr(record, _CELERYS, None)
        task = own if isinstance(own, dict) else {}
        return {shown: task[key] for shown, key in _OF_TASKS.items() if isinstance(task.get(key), str)}
    given = {name: value for name, value in vars(record).items() if name not in _USUAL and name != _CELERYS}
    return {name: _plain(value) for name, value in given.items() if not name.startswith("_")}


def _plain(value: Any) -> Any:
    """A value as JSON has it; JSON knows no NaN."""
    is_plain = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_plain else _text(value)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # a log line is no place to fail
        return f"<{type(value).__name__}>"


@after_setup_logger.connect(weak=False)
@after_setup_task_logger.connect(weak=False)
def _set_up(logger: logging.Logger, **_: Any) -> None:
    """Workers and beat write JSON, if ``bgtasks_json_logs`` says so; their handlers know what records are about."""
    # The pool's logger ("a child exited with signal 9") has handlers of its own, and no signal for them.
    for handler in (*logger.handlers, *(get_multiprocessing_logger() or logger).handlers):
        if not any(isinstance(one, AboutFilter) for one in handler.filters):
            handler.addFilter(AboutFilter())
        if _is_json():
            handler.setFormatter(JsonFormatter())


def _is_json() -> bool:
    app = settings.this_app()
    try:
        return settings.is_configured(app) and settings.current(app).json_logs
    except ImproperlyConfigured:  # which is said, in words, by whoever needs the settings
        return False
