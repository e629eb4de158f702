"""Rows of a user's file against the source of a system: events where they fit it, a reason in words where not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.system import AT, System
from pipelines.chunk import Chunk
from pipelines.mapping import Mapping, Origin, Time
from pipelines.reject import Reject

LONGEST = 256  # characters of a value
EARLIEST = datetime.fromisoformat("1980-01-01T00:00:00+00:00").timestamp()  # before: seconds taken for milliseconds
TARGET, TARGET_OR_NONE = "target", "target or none"  # kinds of columns, besides those of a source
ZONED = r"[T ].*(?:Z|z|[+-]\d{2}(?::?\d{2})?)$"
Texts: TypeAlias = "pd.Series[str]"


@dataclass
class Validator:
    """Takes the chunks of one file, in order."""

    system: System
    mapping: Mapping
    prefix: str  # of the ids of events that are known by their line
    now: datetime
    _seen: "SeenIds" = field(default_factory=lambda: SeenIds())

    def events(self, chunk: Chunk) -> tuple[pd.DataFrame, list[Reject]]:
        """The events in the chunk, with the columns of the system's source, and the rows that were refused."""
        faults = Faults(len(chunk.table))
        at = _times(chunk.table, self.mapping.time, self.now, faults)
        columns = {name: self._column(name, chunk.table, faults) for name in self._kinds()}
        ids = self._ids(chunk, faults)
        self._once(ids, faults)
        frame = pd.DataFrame({self.system.features.source.id: ids, AT: at, **columns})
        rejects = [Reject(chunk.lines[row], faults.reasons[row], chunk.text(row)) for row in faults.rows()]
        return frame[faults.none()], sorted([*chunk.rejects, *rejects], key=lambda reject: reject.line)

    def _kinds(self) -> dict[str, str]:
        target = TARGET_OR_NONE if self.system.training.rules else TARGET
        return {**self.system.features.source.columns, self.system.task.target: target}

    def _column(self, name: str, table: pd.DataFrame, faults: "Faults") -> "pd.Series[str] | NDArray[np.float64]":
        optional = self.system.features.source.optional.get(name)
        origin = self.mapping.columns.get(name, Origin(value=optional if optional is not None else ""))
        texts = _mapped(name, table, origin, faults)
        if origin.default is None and optional is not None:
            texts = texts.mask(texts == "", str(optional))
        kind = self._kinds()[name]
        if kind != TARGET_OR_NONE:
            faults.add(texts == "", f"missing {name}")
        if kind == "string":
            faults.add(texts.str.len() > LONGEST, f"{name} is too long")
            return texts
        return _numbers(name, texts, kind, faults)

    def _ids(self, chunk: Chunk, faults: "Faults") -> Texts:
        names = self.mapping.id_columns
        if not names:
            return pd.Series([f"{self.prefix}-{line}" for line in chunk.lines], dtype=object)
        missing = (chunk.table[list(names)] == "").any(axis=1)
        faults.add(missing, "missing id")
        ids = _joined(chunk.table, names, ":") if len(names) > 1 else chunk.table[names[0]]
        faults.add(ids.str.len() > LONGEST, "id is too long")
        return ids

    def _once(self, ids: Texts, faults: "Faults") -> None:
        """Of the rows with the same id the first good one stays."""
        good = np.flatnonzero(faults.none())
        again = np.zeros(len(ids), dtype=bool)
        again[good] = self._seen.again(ids.iloc[good])
        faults.add(again, "duplicate id within the file")


class Faults:
    """The first reason against each row."""

    def __init__(self, rows: int) -> None:
        self.reasons = np.full(rows, "", dtype=object)

    def add(self, wrong: "pd.Series[bool] | NDArray[np.bool_]", reason: str) -> None:
        self.reasons[np.asarray(wrong, dtype=bool) & self.none()] = reason

    def none(self) -> NDArray[np.bool_]:
        return np.asarray(self.reasons == "", dtype=bool)

    def rows(self) -> Sequence[int]:
        return [int(row) for row in np.flatnonzero(~self.none())]


class SeenIds:
    """The ids of a file so far, 8 bytes each: as 64-bit hashes in sorted runs, each at least twice the next one.

    Among 40 million ids, two share a hash with a probability of 4 in 100,000; such a row would be refused and listed.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def again(self, ids: Texts) -> NDArray[np.bool_]:
        """Which of these came before, here or in an earlier call."""
        hashes = pd.util.hash_array(ids.to_numpy(dtype=object), categorize=False)
        again = ids.duplicated().to_numpy()
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            again = again | (run[place] == hashes)
        if new := hashes[~again].tolist():
            self._add(np.sort(np.array(new, dtype=np.uint64)))
        return np.asarray(again, dtype=bool)

    def _add(self, run: NDArray[np.uint64]) -> None:
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)


def _mapped(name: str, table: pd.DataFrame, origin: Origin, faults: Faults) -> Texts:
    """One column as its origin says, "" where there is nothing and nothing stands in for it."""
    texts = _gathered(table, origin)
    if origin.values is not None:
        found = texts.map({key: str(value) for key, value in origin.values.items()})
        if origin.default is None:
            faults.add(found.isna() & (texts != ""), f"no value of {name} is given for what stands there")
        texts = found.fillna("")
    if origin.default is not None:
        texts = texts.mask(texts == "", str(origin.default))
    return texts


def _gathered(table: pd.DataFrame, origin: Origin) -> Texts:
    if origin.column is not None:
        return table[origin.column]
    if origin.join:
        return _joined(table, origin.join, "/")
    found = pd.Series("" if origin.value is None else str(origin.value), index=table.index, dtype=object)
    for column in origin.first_of:
        usable = ~table[column].isin(["", *origin.unless])
        found = found.mask((found == "") & usable, table[column])
    return found


def _joined(table: pd.DataFrame, columns: Sequence[str], separator: str) -> Texts:
    """Several columns as one text; the separator is escaped in them, so that different parts never look the same."""
    code = f"%{ord(separator):02X}"
    parts = [table[column].str.replace("%", "%25").str.replace(separator, code) for column in columns]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + separator + part
    return joined


def _numbers(name: str, texts: Texts, kind: str, faults: Faults) -> NDArray[np.float64]:
    """The numbers; NaN where a label is allowed to be lacking and does."""
    numbers = np.asarray(pd.to_numeric(texts, errors="coerce"), dtype=np.float64)
    given = np.asarray(texts != "", dtype=bool) if kind == TARGET_OR_NONE else np.ones(len(texts), dtype=bool)
    if kind in (TARGET, TARGET_OR_NONE):
        faults.add(given & ~np.isin(numbers, (0.0, 1.0)), f"{name} is not 0 or 1")
    faults.add(texts.str.lower() == "nan", f"{name} is NaN")
    faults.add(given & np.isnan(numbers), f"{name} is not a number")
    faults.add(np.isinf(numbers), f"{name} is infinite")
    if kind == "integer":
        faults.add(numbers != np.floor(numbers), f"{name} is not a whole number")
    return numbers


def _times(table: pd.DataFrame, time: Time, now: datetime, faults: Faults) -> NDArray[np.float64]:
    """Seconds since the epoch; NaN, with its reason, where the text is no time."""
    texts = table[time.column]
    faults.add(texts == "", "missing timestamp")
    at = _epoch(texts, time) if time.format.startswith("epoch_") else _calendar(texts, time)
    faults.add(~np.isfinite(at), f"timestamp cannot be read as {time.format}")
    faults.add(at > now.timestamp(), "timestamp is in the future")
    faults.add(at < EARLIEST, "timestamp lies before 1980")
    return at


def _epoch(texts: Texts, time: Time) -> NDArray[np.float64]:
    numbers = np.asarray(pd.to_numeric(texts, errors="coerce"), dtype=np.float64)
    return numbers / (1000.0 if time.format == "epoch_milliseconds" else 1.0)


def _calendar(texts: Texts, time: Time) -> NDArray[np.float64]:
    """Times that name their zone as they say, others in the mapping's zone."""
    pattern = "ISO8601" if time.format == "iso8601" else time.format
    if pattern == "ISO8601":
        zoned = texts.str.contains(ZONED).to_numpy(dtype=bool)
    else:
        zoned = np.full(len(texts), "%z" in pattern)
    seconds = np.full(len(texts), np.nan)
    seconds[zoned] = _seconds(pd.to_datetime(texts[zoned], format=pattern, errors="coerce", utc=True))
    local = pd.to_datetime(texts[~zoned], format=pattern, errors="coerce")
    # An hour that a clock change repeats is taken as its first, one that it skips as the hour after.
    first = np.ones(len(local), dtype=bool)
    seconds[~zoned] = _seconds(
        local.dt.tz_localize(ZoneInfo(time.timezone), ambiguous=first, nonexistent="shift_forward")
    )
    return seconds


def _seconds(times: "pd.Series[pd.Timestamp]") -> NDArray[np.float64]:
    microseconds = times.dt.as_unit("us").astype("int64").to_numpy()  # which a float64 holds, and nanoseconds not
    return np.where(times.isna(), np.nan, microseconds / 1e6)
