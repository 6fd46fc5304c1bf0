"""The XML of a workbook but for its rows (ECMA-376, part 1: SpreadsheetML; part 2: packages).

Nothing here changes from one file to the next but the sheets' names: the same rows make the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from xml.sax.saxutils import quoteattr

from bgtasks.formats.archive import Archive

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"


class Style(IntEnum):
    """How a cell is shown: its number is its place among the ``cellXfs`` below."""

    PLAIN = 0
    HEADING = 1
    MOMENT = 2
    DAY = 3
    CLOCK = 4
    DURATION = 5


#: The formats of numbers that are days, by style.
_SHAPES = {
    Style.MOMENT: "yyyy-mm-dd hh:mm:ss",
    Style.DAY: "yyyy-mm-dd",
    Style.CLOCK: "hh:mm:ss",
    Style.DURATION: "[hh]:mm:ss",  # LibreOffice shows [h] below a day as a time of day, such as 12:00:05 AM
}
_FIRST_SHAPE = 164  # the numbers below are Excel's own

#: It stands first, when nobody knows yet how many sheets there will be: what is not named is a sheet.
_CONTENT_TYPES = (
    f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Default Extension="xml" ContentType="{_TYPE}.worksheet+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>'
    "</Types>"
)

_RELATIONSHIPS = (
    f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
    "</Relationships>"
)

_STYLES = (
    f'{_XML}<styleSheet xmlns="{_MAIN}">'
    f'<numFmts count="{len(_SHAPES)}">'
    + "".join(
        f'<numFmt numFmtId="{number}" formatCode="{shape}"/>'
        for number, shape in enumerate(_SHAPES.values(), _FIRST_SHAPE)
    )
    + "</numFmts>"
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="2"><border><left/><right/><top/><bottom/><diagonal/></border>'
    '<border><left/><right/><top/><bottom style="thin"><color auto="1"/></bottom><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    f'<cellXfs count="{len(Style)}">'
    '<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="1" xfId="0" applyFont="1" applyBorder="1"/>'
    + "".join(
        f'<xf numFmtId="{number}" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
        for number in range(_FIRST_SHAPE, _FIRST_SHAPE + len(_SHAPES))
    )
    + "</cellXfs>"
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>'
    "</styleSheet>"
)

SHEET_END = b"</sheetData></worksheet>"


def begin(archive: Archive) -> None:
    """What stands before the sheets."""
    archive.add("[Content_Types].xml", _CONTENT_TYPES.encode())
    archive.add("_rels/.rels", _RELATIONSHIPS.encode())
    archive.add("xl/styles.xml", _STYLES.encode())


def end(archive: Archive, sheets: Sequence[str]) -> None:
    """What stands after them.

    :param sheets: their names.
    """
    archive.add("xl/workbook.xml", _workbook(sheets).encode())
    archive.add("xl/_rels/workbook.xml.rels", _workbook_relationships(len(sheets)).encode())
    archive.close()


def sheet_path(number: int) -> str:
    """Where a sheet is in the archive; the first is 1."""
    return f"xl/worksheets/sheet{number}.xml"


def sheet_begin(number: int, widths: Sequence[int], *, frozen: bool) -> bytes:
    """A sheet up to its rows.

    :param widths: of its columns, in characters.
    :param frozen: whether its first row stays where it is.
    """
    selected = ' tabSelected="1"' if number == 1 else ""
    pane = '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/><selection pane="bottomLeft"/>'
    columns = "".join(
        f'<col min="{column}" max="{column}" width="{width}" customWidth="1"/>'
        for column, width in enumerate(widths, 1)
    )
    return (
        f'{_XML}<worksheet xmlns="{_MAIN}">'
        f'<sheetViews><sheetView{selected} workbookViewId="0">{pane if frozen else ""}</sheetView></sheetViews>'
        '<sheetFormatPr defaultRowHeight="15"/>'
        f"{f'<cols>{columns}</cols>' if columns else ''}<sheetData>"
    ).encode()


def _workbook(sheets: Sequence[str]) -> str:
    named = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="rId{number}"/>'
        for number, name in enumerate(sheets, 1)
    )
    return (
        f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
        f"<bookViews><workbookView/></bookViews><sheets>{named}</sheets></workbook>"
    )


def _workbook_relationships(sheets: int) -> str:
    targets = [("worksheet", sheet_path(number)) for number in range(1, sheets + 1)] + [("styles", "xl/styles.xml")]
    related = "".join(
        f'<Relationship Id="rId{number}" Type="{_OFFICE}/{kind}" Target="{path.removeprefix("xl/")}"/>'
        for number, (kind, path) in enumerate(targets, 1)
    )
    return f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{related}</Relationships>'
