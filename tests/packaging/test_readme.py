"""What the README says is what there is."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import click
import pytest
from celery import Celery
from celery.bin.base import CLIContext
from celery.bin.celery import celery
from celery.worker.control import Panel
from click.testing import CliRunner
from flower.command import is_flower_option
from pydantic_core import PydanticUndefined

import bgtasks
from bgtasks import control, toolbox
from bgtasks.cli.init import init
from bgtasks.settings import KNOWN, PREFIX, Settings
from tests.init.test_init import commands

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
#: The lines that a shell is given, and what the text between them says of Celery's commands.
CONSOLE = [
    line
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
]
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
#: What lines begin with that are no command of Celery's, and where it is seen that they work.
ELSEWHERE = {
    "make": "its targets are looked up in the Makefile, below",
    "pip": "its extras are looked up in pyproject.toml, below; tests/install installs for real",
    "gunicorn": "is started by tests/operating and tests/support/site.py, as the unit of the web process has it",
    "systemctl": "there is no systemd where tests run; tests/operating has its units verified, and starts the same",
    "cd": "a shell's own",
    "export": "a shell's own; tests/settings has what it prints for a key",
}


def test_every_setting_is_in_the_table_with_its_default() -> None:
    """In the table as in the code, none missing and none invented."""
    settings = README.split("\n## Settings\n")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(bgtasks_\w+)` \| (.*?) \|", settings, re.MULTILINE))
    assert set(rows) == {PREFIX + name for name in KNOWN}
    for name in KNOWN:
        default = Settings.model_fields[name].default
        shown = rows[PREFIX + name].strip("`")
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert float(shown) == default
        elif isinstance(default, str) and name != "identify":
            assert shown == default
        elif default is PydanticUndefined:
            assert "must be set" in shown


@pytest.mark.parametrize("block", PYTHON)
def test_its_python_compiles_and_names_what_exists(block: str) -> None:
    """Each block is Python, and imports from bgtasks what bgtasks has."""
    compile(block, "README.md", "exec", dont_inherit=True)
    for module, names in re.findall(r"^from (bgtasks[\w.]*) import (.*)$", block, re.MULTILINE):
        exec(f"from {module} import {names}", {})


def test_the_smallest_file_type_works() -> None:
    """It can be registered, and selects the requester's own rows."""
    block = next(block for block in PYTHON if "class Orders" in block)
    model = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
class Base(DeclarativeBase): pass
class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    amount: Mapped[int]
    ordered_on: Mapped[date]
"""
    names: dict[str, object] = {}
    source = block.replace("from myapp.models import Order", model)
    exec(compile(source, "README.md", "exec", dont_inherit=True), names)
    made = bgtasks.registry.get("orders")()
    row = bgtasks.FileRequest(criteria={"since": "2026-01-01"}, requester="ada@example.com")
    dataset = made.restore_dataset(row)
    assert dataset.criteria.requester == "ada@example.com"
    assert "WHERE orders.customer = :customer_1 AND orders.ordered_on >= :ordered_on_1" in str(
        dataset.items.source
    ).replace("\n", "")


def of_celery(line: str) -> Iterator[list[str]]:
    """The words behind each ``celery`` of a line, up to the end of that command."""
    words = shlex.split(line, comments=True) if "celery" in line else []
    for place, word in enumerate(words):
        if Path(word).name == "celery":
            yield list(takewhile(lambda word: word not in ("|", "&&", ";", "…"), words[place + 1 :]))


def accepted(words: list[str]) -> click.Command:
    """The command that would be run. Raises: click.UsageError, for whatever it would refuse."""
    command: click.Command = celery
    context = None
    while isinstance(command, click.Group):
        context = click.Context(command, context, command.name)
        context.obj = CLIContext(Celery("readme", set_as_current=False), no_color=True, workdir=None)
        _, found, words = command.resolve_command(context, click.Command.parse_args(command, context, words))
        assert found is not None
        command = found
    context = command.make_context(command.name, words, context)
    if command.name == "flower":  # which takes any words, and leaves out what is none of its options
        assert [word for word in context.params["tornado_argv"] if not is_flower_option(word)] == []
    if command.name == "inspect":
        assert Panel.meta[context.params["command"]].type == "inspect"
    return command


@pytest.mark.parametrize("line", CONSOLE)
def test_its_commands_are_accepted(line: str) -> None:
    """Each line for a shell that has to do with Celery: its commands take these options and these arguments."""
    found = [accepted(words) for words in of_celery(line)]
    assert bool(found) != (line.split(maxsplit=1)[0] in ELSEWHERE)


def mentioned(words: list[str]) -> click.Command:
    """The command, where it may be named without what it can't do without. Raises: click.UsageError."""
    try:
        return accepted(words)
    except click.MissingParameter as error:
        if error.ctx is None or error.ctx.command.name != words[-1]:
            raise
        return error.ctx.command


def test_the_commands_in_its_text_are_accepted() -> None:
    """As far as they are told."""
    found = {mentioned(words).name for span in SPANS for words in of_celery(span) if words}
    assert {"clean", "inspect", "list", "worker"} <= found
    assert control.PING in Panel.meta


@pytest.mark.parametrize(
    "line",
    [
        "celery -A myapp bgtasks list --stat failed",
        "celery bgtasks list --state lost",
        "celery bgtasks cleanse",
        "celery bgtasks clean 3f2a9c1b",
        "celery bgtasks show",
        "cd /srv/myapp && celery -A myapp bgtasks process --timeout soon",
        "celery worker --queue bgtasks",
        "celery flower --url-prefixes=flower",
        "celery inspect bgtasks_pong",
    ],
)
def test_another_command_would_be_refused(line: str) -> None:
    """Or else it would not be seen that the README's are the right ones."""
    with pytest.raises((click.UsageError, AssertionError, KeyError)):
        [accepted(words) for words in of_celery(line)]


def test_a_new_deployment_begins_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands are those that ``celery bgtasks init`` prints; tests/init follows them."""
    section = README.partition("## Starting a new deployment")[2].partition("\n## ")[0]
    asked, told = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    printed = commands(CliRunner().invoke(init, shlex.split(asked)[3:]).output)
    assert told.splitlines() == printed


def test_the_make_targets_and_the_extras_that_it_names_exist() -> None:
    """No command that is not there, and nothing to install that is not."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([\w-]+)", README, re.MULTILINE))
    assert {"demo", "bench", "bench-parts"} <= named <= targets
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    wanted = {name for names in re.findall(r"celery-bgtasks\[([\w,-]+)\]", README) for name in names.split(",")}
    assert {"postgresql", "s3"} <= wanted <= extras


def test_the_toolbox_has_what_the_readme_promises() -> None:
    """Each function of the section about doing it by hand."""
    for name in ("attach_file", "decode", "serve", "cancel", "retry", "revoke", "delete", "create_token"):
        assert callable(getattr(toolbox, name))
