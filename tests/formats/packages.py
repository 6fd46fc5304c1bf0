"""What must be true of a workbook's package, and what programs mend in silence where it is not."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from xml.etree import ElementTree

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
#: The children of a worksheet in the order that the schema has them.
WORKSHEET = ["sheetViews", "sheetFormatPr", "cols", "sheetData"]


def checked(buffer: io.BytesIO) -> None:
    """See that a workbook is one, down to the order of its cells (ECMA-376, parts 1 and 2)."""
    package = zipfile.ZipFile(buffer)
    assert package.testzip() is None
    parts = {name: ElementTree.fromstring(package.read(name)) for name in package.namelist()}
    assert len(parts) == len(package.infolist())
    _content_types(parts)
    _relationships(parts)
    for name, root in parts.items():
        if "/worksheets/" in name:
            _worksheet(root, len(parts["xl/styles.xml"].find(f"{MAIN}cellXfs") or []))


def _content_types(parts: dict[str, ElementTree.Element]) -> None:
    """Each part has a type, and each type that is named has its part."""
    types = list(parts["[Content_Types].xml"])
    defaults = {one.get("Extension"): one.get("ContentType") for one in types if one.tag.endswith("Default")}
    overrides = {one.get("PartName"): one.get("ContentType") for one in types if one.tag.endswith("Override")}
    assert {name.removeprefix("/") for name in overrides if name} <= parts.keys()
    for name in parts.keys() - {"[Content_Types].xml"}:
        found = overrides.get(f"/{name}") or defaults[name.rpartition(".")[2]]
        assert found is not None
        assert found.endswith("worksheet+xml") == ("/worksheets/" in name)


def _relationships(parts: dict[str, ElementTree.Element]) -> None:
    """Each leads to a part, and each part is reached, in the order of the sheets."""
    reached = set()
    for name, root in parts.items():
        if name.endswith(".rels"):
            folder = posixpath.dirname(posixpath.dirname(name))
            reached |= {posixpath.join(folder, one.get("Target", "")) for one in root}
            assert len({one.get("Id") for one in root}) == len(root)
    others = {name for name in parts if name.endswith(".rels")} | {"[Content_Types].xml"}
    assert reached == parts.keys() - others
    sheets = parts["xl/workbook.xml"].find(f"{MAIN}sheets")
    assert sheets is not None
    names = [one.get("name", "").lower() for one in sheets]
    assert len(set(names)) == len(names) > 0


def _worksheet(root: ElementTree.Element, styles: int) -> None:
    """Rows and cells ascend, and each style is there."""
    order = [WORKSHEET.index(child.tag.removeprefix(MAIN)) for child in root]
    assert order == sorted(set(order))
    before = 0
    for row in root.iter(f"{MAIN}row"):
        number = int(row.get("r", "0"))
        assert before < number <= 1_048_576
        before = number
        columns = [_column(cell.get("r", ""), number) for cell in row]
        assert columns == sorted(set(columns))
        assert all(int(cell.get("s", "0")) < styles for cell in row)
        assert all(_holds_what_it_says(cell) for cell in row)


def _column(reference: str, row: int) -> int:
    """The number of a cell's column, from 1."""
    letters, number = re.fullmatch(r"([A-Z]{1,3})([1-9]\d*)", reference).groups()  # type: ignore[union-attr]
    assert int(number) == row
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - ord("A") + 1
    return column


def _holds_what_it_says(cell: ElementTree.Element) -> bool:
    """A text is inline, all else is a number."""
    [child] = cell
    if cell.get("t") == "inlineStr":
        return child.tag == f"{MAIN}is" and [text.tag for text in child] == [f"{MAIN}t"]
    return child.tag == f"{MAIN}v" and float(child.text or "nan") < float("inf")
