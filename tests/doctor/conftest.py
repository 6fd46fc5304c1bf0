"""A deployment to examine, and what is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery

from bgtasks import doctor
from bgtasks.doctor import Finding, Level
from tests.conftest import new_sqlite


@dataclass(frozen=True)
class Found:
    """What one check has found."""

    level: Level
    findings: tuple[Finding, ...]

    def __post_init__(self) -> None:
        """Whatever test it is: what is doubtful or wrong comes with its remedy, and nothing else does."""
        for one in self.findings:
            assert (one.remedy != "") == (one.level in (Level.WARNING, Level.FAULT)), one

    @property
    def said(self) -> str:
        """All of it, as a person would read it."""
        return "\n".join(f"{one.level} {one.text} → {one.remedy}" for one in self.findings)


Examine = Callable[..., Found]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite, unless a test wants another one."""
    return new_sqlite(tmp_path)


@pytest.fixture
def examine(app: Celery) -> Examine:
    """One check of the test's app, or of one that has other settings."""

    def examined(name: str, mail: str | None = None, **conf: object) -> Found:
        try:
            return found(changed(app, **conf) if conf else app, name, mail)
        finally:
            app.set_current()

    return examined


def changed(app: Celery, **conf: object) -> Celery:
    """Such an app with other settings."""
    made = Celery("changed", set_as_current=False)
    made.conf.update({**{name: app.conf[name] for name in KEPT if name in app.conf}, **conf})
    made.set_current()
    return made


#: What a changed app has like the first one.
KEPT = (
    "broker_url",
    "result_backend",
    "imports",
    "beat_schedule",
    "bgtasks_database_url",
    "bgtasks_store_url",
    "bgtasks_default_key",
    "bgtasks_base_url",
    "bgtasks_from_email",
    "bgtasks_smtp_url",
    "bgtasks_webhook_secret",
    "bgtasks_webhook_allow_http",
)


def found(app: Celery, name: str, mail: str | None = None) -> Found:
    """What a check says of an app."""
    (result,) = doctor.examine(app, [name], mail)
    return Found(result.level, result.findings)
