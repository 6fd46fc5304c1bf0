"""What is wrong with a file type is said when it is registered, not at night in a worker."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from sqlalchemy import ColumnElement

from bgtasks import formats, notifiers, routes, store_urls, texts
from bgtasks.errors import ImproperlyConfigured, UnknownFormat

_STEP = re.compile(r"[a-z][a-z0-9_]*")

#: The attributes that are ``%(name)s`` texts.
TEXTS = (
    "email_subject",
    "email_text_message",
    "email_html_message",
    "email_failed_subject",
    "email_failed_text_message",
    "email_cancelled_subject",
    "email_cancelled_text_message",
    "email_expiring_subject",
    "download_url",
)

#: The attributes that take several things, and that one text would be taken apart for.
SEVERAL = ("formats", "columns", "notifiers", "email_recipients", "steps")

#: The attributes that are numbers, or None for no limit.
LIMITS = (
    "max_rows",
    "max_active_per_requester",
    "max_criteria_size",
    "email_attach_up_to",
    "parts",
    "max_parts_at_once",
)


#: The attributes that are columns, and the name that their twins have.
COLUMNS = {"part_key": "get_part_key", "part_until": "get_part_until"}


def check(cls: Any, base: Any) -> None:
    """See that a file type can work. Raises: ImproperlyConfigured, which names what is wrong.

    :param base: the class whose methods a file type overrides.
    """
    for text in TEXTS:
        texts.check(cls.__name__, text, getattr(cls, text))
    for name in SEVERAL:
        if isinstance(getattr(cls, name), str):
            raise ImproperlyConfigured(f"{cls.__name__}.{name} needs a list: {getattr(cls, name)!r} is one text")
    _check_limits(cls)
    _check_telling(cls)
    _check_queues(cls)
    _check_store(cls)
    _check_formats(cls)
    _check_columns(cls)
    _check_criteria(cls)
    unknown = [name for name in cls.notifiers if isinstance(name, str) and name not in notifiers.BUILT_IN]
    if unknown:
        raise ImproperlyConfigured(f"{cls.__name__}.notifiers names an unknown one: {unknown[0]!r}")
    if not cls.steps or not all(_STEP.fullmatch(step) for step in cls.steps) or len(set(cls.steps)) < len(cls.steps):
        raise ImproperlyConfigured(f"{cls.__name__}.steps needs names of steps, each once: {cls.steps!r}")
    _check_parts(cls, base)


def _check_limits(cls: Any) -> None:
    for name in LIMITS:
        limit = getattr(cls(), name)
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ImproperlyConfigured(f"{cls.__name__}.{name} needs a whole number from 1, or None: {limit!r}")
    if type(cls().coalesce) is not bool:
        raise ImproperlyConfigured(f"{cls.__name__}.coalesce needs True or False: {cls().coalesce!r}")


def _check_telling(cls: Any) -> None:
    before, lasts = cls().tell_expiry, cls().max_age
    if before is None:
        return
    is_time = isinstance(before, int | float) and not isinstance(before, bool) and before > 0
    if not is_time or (isinstance(lasts, int | float) and before >= lasts):
        raise ImproperlyConfigured(
            f"{cls.__name__}.tell_expiry needs seconds, fewer than its max_age, or None: {before!r}"
        )


def _check_queues(cls: Any) -> None:
    for name in ("queue", "heavy_queue"):
        queue = getattr(cls(), name)
        if queue is not None and (not isinstance(queue, str) or not queue):
            raise ImproperlyConfigured(f"{cls.__name__}.{name} needs a queue's name, or None: {queue!r}")
    try:
        routes.takes_both(cls().get_queue)
    except TypeError:
        raise ImproperlyConfigured(f"{cls.__name__}.get_queue needs the arguments (self, criteria, count)") from None


def _check_store(cls: Any) -> None:
    try:
        store_urls.checked(cls.store_url or "a folder")
    except ValueError as fault:
        raise ImproperlyConfigured(f"{cls.__name__}.store_url {fault}") from None


def _check_formats(cls: Any) -> None:
    try:
        usable = cls().get_formats()
    except UnknownFormat:
        raise ImproperlyConfigured(f"{cls.__name__}.formats names an unknown format: {cls.formats!r}") from None
    if not usable or not all(isinstance(one, formats.Format) for one in usable):
        raise ImproperlyConfigured(f"{cls.__name__}.formats needs names of formats, or Format objects")


def _check_parts(cls: Any, base: Any) -> None:
    for name in COLUMNS:
        if not _is_column(getattr(cls, name)):
            raise ImproperlyConfigured(
                f"{cls.__name__}.{name} needs a column, the name of one, or None: {getattr(cls, name)!r}"
            )
    has_key, has_until = (getattr(cls, name) is not None or _is_own(cls, base, twin) for name, twin in COLUMNS.items())
    if has_until and not has_key:
        raise ImproperlyConfigured(f"{cls.__name__}.part_until needs a part_key: it says which rows that splits")
    if not cls().has_parts():
        return
    if not has_key:
        name = "get_parts" if _is_own(cls, base, "get_parts") else "parts"
        raise ImproperlyConfigured(f"{cls.__name__}.{name} needs a part_key: the column that the rows are split by")
    _check_writing(cls, base)
    _check_steps_of_parts(cls)


def _check_writing(cls: Any, base: Any) -> None:
    """Whether each part can be written, and all of them be joined."""
    if _is_own(cls, base, "write_part"):
        return
    if _is_own(cls, base, "write_bytes"):
        raise ImproperlyConfigured(f"{cls.__name__}.write_bytes is its own: its parts need a write_part of its own too")
    whole = [one.name for one in cls().get_formats() if not formats.has_parts(one)]
    if whole and not _is_own(cls, base, "get_parts"):
        raise ImproperlyConfigured(
            f"{cls.__name__}.parts needs formats whose files can be put together, and those of {whole[0]} can't: "
            "write a get_parts that returns 1 for that"
        )


def _check_steps_of_parts(cls: Any) -> None:
    """What is planned stays as it is until it is written; and what is written, somebody joins."""
    following = ("build_items", "write_bytes")
    begin = cls.steps.index(following[0]) if following[0] in cls.steps else 0
    if tuple(cls.steps[begin : begin + 2]) != following or len(cls.steps) == begin + 2:
        raise ImproperlyConfigured(
            f"{cls.__name__}.steps needs build_items, right after it write_bytes, and a step that comes later, for a "
            f"file in parts: {cls.steps!r}"
        )


def _is_own(cls: Any, base: Any, method: str) -> bool:
    return getattr(cls, method) is not getattr(base, method)


def _is_column(key: Any) -> bool:
    """Whether this can be one; only the select tells whether it is one of its own."""
    return key is None or (isinstance(key, str) and bool(key)) or isinstance(_expression(key), ColumnElement)


def _expression(key: Any) -> Any:
    return key.__clause_element__() if hasattr(key, "__clause_element__") else key


def _check_columns(cls: Any) -> None:
    columns = cls().columns
    if columns is None:
        return
    if not isinstance(columns, Sequence | Mapping) or not columns or not all(map(_is_heading, columns)):
        raise ImproperlyConfigured(f"{cls.__name__}.columns needs headings, or names with headings: {columns!r}")
    if isinstance(columns, Mapping):
        _check_names(cls, columns)


def _check_names(cls: Any, columns: Mapping[Any, Any]) -> None:
    for name, heading in columns.items():
        if not isinstance(name, str) or not name or "," in name or name != name.strip():
            raise ImproperlyConfigured(
                f"{cls.__name__}.columns needs names without commas, or blanks around them: {name!r}"
            )
        if not _is_heading(heading):
            raise ImproperlyConfigured(f"{cls.__name__}.columns[{name!r}] needs a heading: {heading!r}")


def _is_heading(heading: Any) -> bool:
    """Whether this can be one: a text, or what becomes one only later, such as another framework's lazy text."""
    return isinstance(heading, str) or not (heading is None or isinstance(heading, Sequence | Mapping))


def _check_criteria(cls: Any) -> None:
    model = cls().get_criteria_class()
    if model is None:
        return
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ImproperlyConfigured(f"{cls.__name__}'s criteria need a class of pydantic's BaseModel: {model!r}")
    if any("requester" in (name, field.alias, field.validation_alias) for name, field in model.model_fields.items()):
        raise ImproperlyConfigured(f"{cls.__name__}'s criteria can't have a field 'requester': it comes from the row")
