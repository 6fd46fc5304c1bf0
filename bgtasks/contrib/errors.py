"""Errors that are ours and a framework's at once: ``except`` either, or let the framework answer."""

from __future__ import annotations

import functools
from typing import Any


def also(error: Exception, framework: Any, **evidence: Any) -> Exception:
    """The same error, which is an error of the framework's as well.

    :param framework: its class of exceptions.
    :param evidence: attributes that the framework looks at.
    """
    ours: Any = type(error)
    kind = _both(ours, framework)
    made: Exception = kind.__new__(kind, *error.args)  # not by calling it: each of ours takes other arguments
    made.__dict__.update(error.__dict__, **evidence)
    return made


@functools.cache
def _both(ours: Any, framework: Any) -> Any:
    return type(ours.__name__, (ours, framework), {"__module__": ours.__module__, "__doc__": ours.__doc__})
