"""A user's file: what it is, whether it can be used at all, and its rows as a stream of chunks."""

import codecs
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.errors import InvalidInput
from pipelines import csv_rows
from pipelines.chunk import ROWS, Chunk, frame
from pipelines.mapping import Mapping, check_columns

BLOCK_BYTES = 1 << 20
PARQUET = b"PAR1"
PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"BZh")  # gzip, zip, zstandard, bzip2


@dataclass(frozen=True)
class EventFile:
    """A file that was looked at once, to its end."""

    path: Path
    parquet: bool
    columns: tuple[str, ...]
    digest: str  # SHA-256
    mapping: Mapping

    def chunks(self) -> Iterator[Chunk]:
        """The file's rows, in order; memory holds one chunk at a time."""
        if self.parquet:
            return _parquet_chunks(self.path, self.mapping)
        return csv_rows.chunks(self.path, self.columns, self.mapping)


def open_event_file(path: Path, mapping: Mapping) -> EventFile:
    """Look at a file, every byte of it; InvalidInput in one sentence where it as a whole cannot be used."""
    columns, parquet = look(path, mapping), _is_parquet(path)
    return EventFile(path, parquet, columns, _digest(path, text=not parquet), mapping)


def look(path: Path, mapping: Mapping) -> tuple[str, ...]:
    """The file's columns, from its beginning alone; InvalidInput where it is no table or lacks a column."""
    columns = _parquet_columns(path) if _is_parquet(path) else _csv_columns(path, mapping)
    check_columns(mapping, columns, repr(str(path)))
    return columns


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(BLOCK_BYTES)
    except OSError as error:
        raise InvalidInput(f"The file {str(path)!r} cannot be read: {error.strerror}.") from error
    if not head:
        raise InvalidInput(f"The file {str(path)!r} is empty.")
    if not head.startswith(PARQUET) and (b"\x00" in head or head.startswith(PACKED)):
        raise InvalidInput(f"The file {str(path)!r} is neither CSV nor Parquet; unpack or export it as one of them.")
    return head.startswith(PARQUET)


def _csv_columns(path: Path, mapping: Mapping) -> tuple[str, ...]:
    if mapping.header is not None:
        return mapping.header
    try:
        names = csv_rows.header(path, mapping.delimiter)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The file {str(path)!r} is not UTF-8 at its beginning; convert it to UTF-8.") from error
    if not names:
        raise InvalidInput(f"The file {str(path)!r} has no header line that could be read.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidInput(f"The header of {str(path)!r} names column {twice[0]!r} twice.")
    return names


def _parquet_columns(path: Path) -> tuple[str, ...]:
    try:
        return tuple(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"The file {str(path)!r} is a Parquet file that is not whole.") from error


def _digest(path: Path, text: bool) -> str:
    """The file's SHA-256; where it is text, every byte of it is decoded on the way."""
    sha, decoder, line = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")(), 1
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            sha.update(block)
            if text:
                _decode(decoder, block, line, path)
                line += block.count(b"\n")
    if text:
        _decode(decoder, b"", line, path)
    return sha.hexdigest()


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, line: int, path: Path) -> None:
    try:
        decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
        line += block[: error.start].count(b"\n")
        raise InvalidInput(f"The file {str(path)!r} is not UTF-8 at line {line}; convert it to UTF-8.") from error


def _parquet_chunks(path: Path, mapping: Mapping) -> Iterator[Chunk]:
    row = 0
    with pq.ParquetFile(path) as parquet:
        for batch in parquet.iter_batches(ROWS, columns=list(mapping.needed)):
            table = pa.table({name: _as_text(batch[name], name, path) for name in mapping.needed})
            yield Chunk(frame(table), range(row + 1, row + 1 + batch.num_rows))
            row += batch.num_rows


def _as_text(values: pa.Array, name: str, path: Path) -> pa.Array:
    """Values as CSV would write them; truth values as 1 and 0."""
    with suppress(pa.ArrowException):
        plain = pc.cast(values, pa.int8()) if pa.types.is_boolean(values.type) else values
        return pc.fill_null(pc.cast(plain, pa.string()), "")
    raise InvalidInput(f"Column {name!r} of {str(path)!r} holds {values.type}; a mapped column holds plain values.")
