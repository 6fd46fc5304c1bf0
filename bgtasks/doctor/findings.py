"""What an examination finds: each thing is well, doubtful or wrong, and what is wrong comes with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bgtasks.sweeps.cleaning import reason

#: An error in one line without its full stop.
why = reason


class Level(StrEnum):
    """How one thing is."""

    OK = "ok"  #: as it should be
    WARNING = "warning"  #: doubtful: it may be meant so
    FAULT = "fault"  #: wrong: exports fail, or will
    SKIPPED = "skipped"  #: not examined, since something else is at fault first


@dataclass(frozen=True)
class Finding:
    """One sentence about one thing."""

    level: Level
    text: str
    remedy: str = ""  #: a command or a setting to copy, or what else to do


def ok(text: str) -> Finding:
    """It is as it should be."""
    return Finding(Level.OK, text)


def warning(text: str, remedy: str) -> Finding:
    """It may be meant so."""
    return Finding(Level.WARNING, text, remedy)


def fault(text: str, remedy: str) -> Finding:
    """Exports fail, or will."""
    return Finding(Level.FAULT, text, remedy)


class NotExaminedError(Exception):
    """Something else is at fault first: its own check says what."""


@dataclass(frozen=True)
class Check:
    """One part of the examination."""

    name: str
    about: str  #: what it looks at, in a few words
    examine: Callable[[Any], Iterator[Finding]]


@dataclass(frozen=True)
class Result:
    """What a check has found."""

    check: Check
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The worst of them."""
        return max((found.level for found in self.findings), key=SEVERITY.index, default=Level.OK)


#: From what may be left as it is to what may not.
SEVERITY = (Level.OK, Level.SKIPPED, Level.WARNING, Level.FAULT)
