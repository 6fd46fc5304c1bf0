"""Arrow record batches turned into lines of CSV, without a Python object for each cell: the same bytes as from rows.

Wherever Arrow's text of a value is not the canonical one, ``Cells`` makes it. The zone's calendar is Python's, too:
Arrow's own differs from it where a machine has another zone database, or none.
"""

from __future__ import annotations

from datetime import timedelta, tzinfo
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bgtasks.errors import UnwritableValue
from bgtasks.formats.cells import FORMULA, Cells, is_unicode
from bgtasks.formats.offsets import FIRST, FIRST_DAY, Offsets
from bgtasks.formats.quoting import EMPTY_LINE, END, Quoting
from bgtasks.items import ArrowRows, Kind

MICROSECOND, SECOND = timedelta(microseconds=1), timedelta(seconds=1) // timedelta(microseconds=1)
DAY = 24 * 60 * 60 * SECOND
#: Where Python's calendar begins: days are counted from there, so that none is negative, and cut towards zero.
FIRST_MICRO = FIRST // MICROSECOND

#: Up to seconds, in ``2024-02-29 12:30:01.000500`` and in ``12:30:01.000500``.
DATETIME_LENGTH, TIME_LENGTH = 19, 8

#: Between them (and for 0) Arrow writes the digits that Python writes, but for the ``.0`` of whole numbers.
SMALLEST, LARGEST = 1e-4, 1e10

FORMULAS = pa.array([first.encode() for first in FORMULA])


class ArrowText:
    """Called with a batch, gives its lines.

    :param cell: what makes a text of any value.
    :param neutralise: whether it neutralises texts.
    """

    def __init__(self, rows: ArrowRows, zone: tzinfo, cell: Cells, quoting: Quoting, neutralise: bool) -> None:
        self._rows = rows
        self._cell = cell
        self._quoting = quoting
        self._neutralise = neutralise
        self._offsets = Offsets(zone)
        self._done = 0
        self._by_kind = {
            Kind.TEXT: self._text,
            Kind.INTEGER: _cast,
            Kind.FLOAT: self._float,
            Kind.BOOLEAN: _cast,
            Kind.DECIMAL: self._decimal,
            Kind.DATE: _cast,
            Kind.DATETIME: _datetime,
            Kind.MOMENT: self._moment,
            Kind.TIME: _time,
            Kind.OTHER: self._other,
        }

    def __call__(self, batch: pa.RecordBatch) -> memoryview:
        columns = [self._by_kind[kind](batch, number) for number, kind in enumerate(self._rows.kinds)]
        if len(columns) == 1:
            columns = [_or_empty_line(columns[0])]
        columns[-1] = pc.binary_join_element_wise(columns[-1], END, "", null_handling="replace")
        self._done += batch.num_rows
        return _content(pc.binary_join_element_wise(*columns, self._quoting.delimiter, null_handling="replace"))

    def _text(self, batch: pa.RecordBatch, number: int) -> Any:
        texts = _small(batch.column(number))
        return self._quoted(_neutralised(texts) if self._neutralise else texts)

    def _other(self, batch: pa.RecordBatch, number: int) -> Any:
        return self._quoted(self._as_cells(batch, number, self._done))

    def _float(self, batch: pa.RecordBatch, number: int) -> Any:
        values = batch.column(number)
        size = pc.abs(values)
        same = pc.or_(pc.and_(pc.greater_equal(size, SMALLEST), pc.less(size, LARGEST)), pc.equal(size, 0.0))
        whole = pc.if_else(pc.equal(values, pc.floor(values)), ".0", "")
        texts = pc.binary_join_element_wise(values.cast(pa.string()), whole, "")
        return self._with_cells(texts, pc.invert(same), batch, number)

    def _decimal(self, batch: pa.RecordBatch, number: int) -> Any:
        values = batch.column(number)
        if not pa.types.is_decimal(values.type):
            return _small(values)
        texts = values.cast(pa.string())
        return self._with_cells(texts, pc.match_substring(texts, "E"), batch, number)

    def _moment(self, batch: pa.RecordBatch, number: int) -> Any:
        micros = batch.column(number).view(pa.int64())
        days = pc.dictionary_encode(pc.divide(pc.subtract(micros, FIRST_MICRO), DAY))
        offsets = [None if day is None else self._offsets[FIRST_DAY + day] for day in days.dictionary.to_pylist()]
        if len(set(offsets)) == 1 and (only := offsets[0]):
            return pc.binary_join_element_wise(_clock(pc.add(micros, only.length // MICROSECOND)), only.text, "")
        lengths = pa.array([offset and offset.length // MICROSECOND for offset in offsets], pa.int64())
        shown = pa.array([offset and offset.text for offset in offsets], pa.string())
        clock = _clock(pc.add(micros, lengths.take(days.indices)))
        texts = pc.binary_join_element_wise(clock, shown.take(days.indices), "")
        return self._with_cells(texts, pc.and_(pc.is_null(texts), pc.is_valid(micros)), batch, number)

    def _with_cells(self, texts: Any, odd: Any, batch: pa.RecordBatch, number: int) -> Any:
        """The texts, but of the odd values what ``Cells`` makes."""
        odd = pc.fill_null(odd, False)
        if not pc.any(odd).as_py():
            return texts
        return pc.replace_with_mask(texts, odd, self._as_cells(batch.filter(odd), number))

    def _as_cells(self, batch: pa.RecordBatch, number: int, done: int = 0) -> Any:
        texts = [str(self._cell(value)) for value in self._rows.values(batch, number)]
        try:
            return pa.array(texts, pa.string())
        except UnicodeEncodeError:
            culprit = next(row for row, text in enumerate(texts, done + 1) if not is_unicode(text))
            column = self._rows.columns[number]
            raise UnwritableValue("A text is not valid Unicode", row=culprit, column=column) from None

    def _quoted(self, texts: Any) -> Any:
        """Only the texts that need quotes are touched."""
        content = _content(texts).tobytes()  # a copy, which can be searched at the speed of memory
        found = [special for special in self._quoting.special if special.encode() in content]
        if not found:
            return texts
        special = pc.fill_null(_any_of(texts, found), False)
        chosen = texts.filter(special)
        doubled = pc.replace_substring(chosen, '"', '""') if '"' in found else chosen
        return pc.replace_with_mask(texts, special, pc.binary_join_element_wise('"', doubled, '"', ""))


def _small(texts: Any) -> Any:
    """With 32-bit offsets, which count from the slice's own beginning."""
    return pa.concat_arrays([texts]).cast(pa.string()) if pa.types.is_large_string(texts.type) else texts


def _cast(batch: pa.RecordBatch, number: int) -> Any:
    return batch.column(number).cast(pa.string())


def _time(batch: pa.RecordBatch, number: int) -> Any:
    values = batch.column(number)
    return _without_zeros(values.cast(pa.string()), values.view(pa.int64()), TIME_LENGTH)


def _datetime(batch: pa.RecordBatch, number: int) -> Any:
    return _clock(batch.column(number).view(pa.int64()))


def _clock(micros: Any) -> Any:
    return _without_zeros(micros.cast(pa.timestamp("us")).cast(pa.string()), micros, DATETIME_LENGTH)


def _without_zeros(texts: Any, micros: Any, length: int) -> Any:
    """Whole seconds have no fraction."""
    whole = pc.fill_null(pc.equal(pc.multiply(pc.divide(micros, SECOND), SECOND), micros), False)
    if not pc.any(whole).as_py():
        return texts
    return pc.replace_with_mask(texts, whole, pc.utf8_slice_codeunits(texts.filter(whole), 0, length))


def _neutralised(texts: Any) -> Any:
    formulas = pc.is_in(pc.binary_slice(texts.cast(pa.binary()), 0, 1), FORMULAS)
    if not pc.any(formulas).as_py():
        return texts
    return pc.replace_with_mask(texts, formulas, pc.binary_join_element_wise("'", texts.filter(formulas), ""))


def _or_empty_line(texts: Any) -> Any:
    texts = pc.fill_null(texts, "")
    return pc.if_else(pc.equal(texts, ""), EMPTY_LINE, texts)


def _any_of(texts: Any, substrings: list[str]) -> Any:
    first, *others = (pc.match_substring(texts, substring) for substring in substrings)
    for other in others:
        first = pc.or_(first, other)
    return first


def _content(texts: Any) -> memoryview:
    """The bytes of all texts, one after the other, where they are."""
    _, offsets, content = texts.buffers()
    if content is None:
        return memoryview(b"")
    bounds = memoryview(offsets).cast("i")
    return memoryview(content)[bounds[texts.offset] : bounds[texts.offset + len(texts)]]
