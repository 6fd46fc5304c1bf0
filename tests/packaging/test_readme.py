"""What the README says is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

import bgtasks
from bgtasks import toolbox
from bgtasks.settings import KNOWN, PREFIX, Settings

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


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


def test_the_make_targets_that_it_names_exist() -> None:
    """No command that is not there."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake (\w+)(?=[`\n])", README)) <= targets


def test_the_toolbox_has_what_the_readme_promises() -> None:
    """Each function of the section about doing it by hand."""
    for name in ("attach_file", "decode", "serve", "cancel", "retry", "revoke", "delete", "create_token"):
        assert callable(getattr(toolbox, name))
