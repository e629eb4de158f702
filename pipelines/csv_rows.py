"""A CSV file as chunks of rows, read as a stream, each row with the line on which it begins."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.csv as pa_csv

from pipelines.chunk import ROWS, Chunk, frame
from pipelines.mapping import Mapping
from pipelines.reject import Reject

LONGEST_LINE = 1 << 20  # characters; what is longer is read in pieces, each of them refused
ENDS = "\r\n"
WRONG_COUNT = "wrong number of fields"


def header(path: Path, delimiter: str) -> tuple[str, ...]:
    """The fields of the first row; none when there is no row, or it cannot be read."""
    with _text(path) as text:
        first = next(_records(_Lines(text), delimiter), None)
    return tuple(first.fields) if first else ()


def chunks(path: Path, columns: Sequence[str], mapping: Mapping) -> Iterator[Chunk]:
    """The file's rows, of the columns those that the mapping needs. A first row that repeats `columns` is left out.

    Lines without a quote, nearly all there are, are split by Arrow, five times as fast as by the csv module.
    """
    with _text(path) as text:
        lines = _Lines(text)
        while block := lines.take(ROWS):
            if any('"' in line for line in block):
                lines.give_back(block)
                yield _with_quotes(lines, columns, mapping)
            else:
                yield _without_quotes(block, lines.number - len(block) + 1, columns, mapping)


@dataclass(frozen=True)
class _Record:
    """One row; its fault, if any, says why its fields could not be told apart."""

    line: int
    raw: str
    fields: list[str]
    fault: str = ""


@dataclass
class _Lines:
    """Physical lines, some of which may be given back to be read again."""

    text: TextIO
    number: int = 0  # of the last line taken
    returned: list[str] = field(default_factory=list)  # the next one last
    taken: list[str] = field(default_factory=list)  # since it was last cleared

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.returned.pop() if self.returned else self.text.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.taken.append(line)
        self.number += 1
        return line

    def take(self, most: int) -> list[str]:
        self.taken.clear()
        for _ in zip(range(most), self, strict=False):
            pass
        return self.taken.copy()

    def give_back(self, lines: list[str]) -> None:
        self.returned.extend(reversed(lines))
        self.number -= len(lines)


def _without_quotes(block: list[str], number: int, columns: Sequence[str], mapping: Mapping) -> Chunk:
    delimiter, wanted = mapping.delimiter, len(columns) - 1
    raw, lines, rejects = [], [], []
    for line_number, line in enumerate(block, number):
        row = line.rstrip(ENDS)
        if not row or (line_number == 1 and row.split(delimiter) == list(columns)):
            continue
        if row.count(delimiter) != wanted:
            rejects.append(Reject(line_number, WRONG_COUNT, row))
        else:
            raw.append(row)
            lines.append(line_number)
    return Chunk(frame(_split(raw, columns, mapping)), lines, raw, rejects)


def _split(rows: list[str], columns: Sequence[str], mapping: Mapping) -> pa.Table:
    if not rows:
        return pa.table({name: pa.array([], pa.string()) for name in mapping.needed})
    data = "\n".join(rows).encode()
    return pa_csv.read_csv(
        pa.py_buffer(data),
        pa_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=list(columns)),
        pa_csv.ParseOptions(delimiter=mapping.delimiter, quote_char=False, ignore_empty_lines=False),
        pa_csv.ConvertOptions(
            check_utf8=False, column_types=dict.fromkeys(columns, pa.string()), include_columns=list(mapping.needed)
        ),
    )


def _with_quotes(source: _Lines, columns: Sequence[str], mapping: Mapping) -> Chunk:
    rows: list[_Record] = []
    rejects: list[Reject] = []
    for record in _records(source, mapping.delimiter):
        if record.fault or len(record.fields) != len(columns):
            rejects.append(Reject(record.line, record.fault or WRONG_COUNT, record.raw))
        elif record.line > 1 or record.fields != list(columns):
            rows.append(record)
        if len(rows) + len(rejects) >= ROWS:
            break
    place = {name: columns.index(name) for name in mapping.needed}
    table = {name: pa.array([row.fields[at] for row in rows], pa.string()) for name, at in place.items()}
    return Chunk(frame(pa.table(table)), [row.line for row in rows], [row.raw for row in rows], rejects)


def _records(lines: _Lines, delimiter: str) -> Iterator[_Record]:
    """The rows that are not blank. A line whose quotes are wrong costs only itself: the next are read again."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.taken.clear()
        number = lines.number + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            first, *rest = lines.taken
            lines.give_back(rest)
            yield _Record(number, first.rstrip(ENDS), [], "quotes do not match, or a field is too long")
            continue
        if fields:
            yield _Record(number, "".join(lines.taken).rstrip(ENDS), fields)


def _text(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", newline="")
