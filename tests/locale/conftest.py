"""A deployment with catalogues of its own, whose mails go to a real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgtasks.stack import Mailbox
from tests.conftest import new_sqlite

HEADER = """msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"""

#: Writes texts in a language, and returns the file.
Translate = Callable[[str, dict[str, str]], Path]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What is said does not depend on the database."""
    return new_sqlite(tmp_path)


@pytest.fixture
def conf(mailbox: Mailbox) -> dict[str, Any]:
    """The mail server."""
    return {"bgtasks_smtp_url": mailbox.url}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The deployment's folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def translate(root: Path) -> Translate:
    """Gives the deployment texts of its own."""

    def write(language: str, texts: dict[str, str]) -> Path:
        entries = (f'\nmsgid "{original}"\nmsgstr "{text}"\n' for original, text in texts.items())
        path = root / "locale" / language / "LC_MESSAGES" / "bgtasks.po"
        path.parent.mkdir(parents=True)
        path.write_text(HEADER + "".join(entries))
        return path

    return write
