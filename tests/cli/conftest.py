"""The commands, in this process and on the test's own deployment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner

from bgtasks.cli import bgtasks
from bgtasks.deployment import Deployment

#: What a person may write who wants something of the operator's terminal.
HOSTILE = "evil \x1b[31mred\x1b]0;title\x07 \x9b2J \u202etxt.exe [bold]b[/] \u2028 Grüße 👩\u200d💻 你好"


@dataclass(frozen=True)
class Said:
    """What a command has printed, and its exit code."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        """Its output, for programs."""
        return json.loads(self.output)

    @property
    def cells(self) -> list[list[str]]:
        """Its output in a pipe."""
        return [line.split("\t") for line in self.output.splitlines()]


Run = Callable[..., Said]


@pytest.fixture
def run(app: Celery, parts: Deployment) -> Run:
    """``celery bgtasks …``; its output is a pipe."""

    def run(*arguments: str, stdin: str | None = None) -> Said:
        invoked = CliRunner().invoke(bgtasks, list(arguments), obj=SimpleNamespace(app=app), input=stdin)
        if invoked.exception is not None and not isinstance(invoked.exception, SystemExit):
            raise invoked.exception
        return Said(invoked.exit_code, invoked.stdout, invoked.stderr)

    return run
