"""The registered file types, by name. It holds classes and knows nothing of ``FileType``."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from typing import Any, TypeVar
from weakref import WeakSet

from celery import Celery

from bgtasks import deployment, settings
from bgtasks.claims import request_id
from bgtasks.errors import ImproperlyConfigured, UnknownFileType

NAME = re.compile(r"[a-z][a-z0-9_]*")

Class = TypeVar("Class", bound=type)

_classes: dict[str, type[Any]] = {}
#: The apps whose modules were imported.
_imported: WeakSet[Celery] = WeakSet()
#: Whoever asks meanwhile waits: a file type that is not known yet would be served without its rights.
_importing = threading.RLock()


def register(cls: Class, names: Iterable[str] | None = None) -> Class:
    """Make a file type known; usable as a decorator.

    :param names: more than its own ``file_type``, for a type that has been renamed.
    Raises: ImproperlyConfigured, if a name is taken or the class can't work.
    """
    names = tuple(names or [cls.file_type])  # type: ignore[attr-defined]
    for name in names:
        if not NAME.fullmatch(name):
            raise ImproperlyConfigured(f"{name!r} is no name for a file type: {NAME.pattern}")
        known = _classes.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ImproperlyConfigured(f"the file type {name!r} is registered already, by {known.__module__}")
    cls.check()  # type: ignore[attr-defined]
    _classes.update(dict.fromkeys(names, cls))
    return cls


def get(name: str) -> type[Any]:
    """The class of that name. Raises: UnknownFileType."""
    if name not in _classes:
        _import_configured()
    try:
        return _classes[name]
    except KeyError:
        raise UnknownFileType from None


def names() -> tuple[str, ...]:
    """The registered names, sorted."""
    _import_configured()
    return tuple(sorted(_classes))


def dispatch(id: str) -> bool:
    """Handle one request now, in this process, with no broker; False: there was nothing to do for it."""
    found = deployment.current().requests.get(request_id(id))
    return found is not None and bool(get(found.file_type).handle(found))


def _import_configured() -> None:
    """Import what the app's configuration names: a worker has done so, a web process may not have."""
    app = settings.this_app()
    with _importing:
        if app in _imported:
            return
        _imported.add(app)  # at once: such a module may ask for a file type
        try:
            app.loader.import_default_modules()
        except BaseException:
            _imported.discard(app)
            raise
