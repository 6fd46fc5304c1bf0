"""What comes with an extra, and is imported only where it is needed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any

from bgtasks import arrow_memory
from bgtasks.errors import ImproperlyConfigured


def needs(extra: str, module: str) -> Any:
    """A module that needs what comes with an extra. Raises: ImproperlyConfigured, which says how to install it."""
    if extra == "arrow":
        arrow_memory.choose()
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImproperlyConfigured(_missing(error.name or module, extra)) from error


def has(*packages: str) -> bool:
    """Whether these are installed; they are not imported."""
    return all(importlib.util.find_spec(package) for package in packages)


@contextlib.contextmanager
def imported_with(extra: str) -> Iterator[None]:
    """Imports, at the beginning of a module, of what an extra brings along.

    Raises: ModuleNotFoundError, which says how to install it. (Who looks through all modules expects an ImportError.)
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(_missing(error.name or extra, extra), name=error.name) from error


def _missing(module: str, extra: str) -> str:
    return f"{module} is not installed: pip install 'celery-bgtasks[{extra}]'"
