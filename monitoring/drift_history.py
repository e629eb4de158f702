"""The past that data drift is judged against: the log as counts, slot by slot, kept on disk.

A slot is a part of a window, so that past windows can be put together that begin at the same time of the hour as the
one that is judged. Each slot of the log is read once. What depends on a model is counted by version: the score and,
where a stage one chooses the rows, their features.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from contracts.ports import Archive
from contracts.records import FALLBACK_VERSION, FEATURES_UNAVAILABLE
from contracts.system import AT, System
from monitoring.data_drift.columns import Codes, Column, Floats, learn
from monitoring.data_drift.sketch import Sketches, joined, sketches

SCORE = "score"
HORIZON = timedelta(weeks=8).total_seconds()
MOST_ROWS = 2_000_000  # read in one go; what is older is left for the next
MOST_AT_ONCE = 200_000  # of these, if a slot has no more
MOST_EMPTY = 8  # windows looked at together where the log is empty
LEARNING_ROWS = 20_000  # bins need no more
FEWEST_ROWS = 100  # … nor fewer


@dataclass(frozen=True)
class Part:
    """Columns that are judged together, and the slots that were counted; those without rows are not among them."""

    columns: tuple[Column, ...]
    slots: Sketches


@dataclass(frozen=True)
class Past:
    """All that is kept of a system's log. Moments are seconds since the epoch, UTC."""

    names: tuple[str, ...]  # the columns besides the score
    slot: float  # seconds
    looked_at: frozenset[int] = frozenset()  # numbers of slots: their start over `slot`
    parts: Mapping[str, Part] = field(default_factory=dict)
    begin: float = -math.inf  # what came before says nothing about what is usual now
    settled: float = -math.inf  # what was found shifted before is usual by now
    shifted_since: float = math.nan  # the start of the first of the windows that were found shifted until now
    version: str = ""  # the champion that was judged last


def slot_of(window: timedelta) -> float:
    """The length of a slot in seconds: a sixth of a window, from 20 minutes to an hour, of which windows are made."""
    span = window.total_seconds()
    return span / max(1, round(span / min(max(span / 6, 1200.0), 3600.0)))


def load(path: Path, names: Sequence[str], slot: float, now: float) -> Past:
    """What was kept; where features or windows have changed since, the past begins anew at `now`."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            past = _read(kept)
    except FileNotFoundError:
        return Past(tuple(names), slot)
    return past if (past.names, past.slot) == (tuple(names), slot) else Past(tuple(names), slot, begin=now)


def save(path: Path, past: Past) -> None:
    """Replace what was kept; a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    with draft.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **_written(past))
    draft.replace(path)


def brought_up(past: Past, archive: Archive, system: System, until: float, rows_a_window: int = 0) -> Past:
    """Count the slots before `until` that were not looked at yet, the newest first, and forget those that are older
    than eight weeks. Where a window is known to have many rows, it is read in parts."""
    first, end = math.ceil(max(past.begin, until - HORIZON) / past.slot), round(until / past.slot)
    looked_at = {slot for slot in past.looked_at if slot >= first}
    parts = {name: [Part(part.columns, _since(part.slots, first * past.slot))] for name, part in past.parts.items()}
    missing = [slot for slot in range(first, end) if slot not in looked_at]
    window, rows, windows = round(system.monitoring.window.total_seconds() / past.slot), 0, 1
    at_once = max(1, window * MOST_AT_ONCE // max(rows_a_window, MOST_AT_ONCE))
    while missing and rows < MOST_ROWS:
        run = _newest(missing, windows * at_once)
        frame = archive.predictions(
            system, _moment(run.start * past.slot), _moment(run.stop * past.slot), system.features.names
        )
        _count(parts, frame, system, past.slot)
        looked_at.update(run)
        rows, windows = rows + len(frame), 1 if len(frame) else min(2 * windows, MOST_EMPTY)
    kept = {name: _together(counted) for name, counted in parts.items()}
    kept = {name: part for name, part in kept.items() if len(part.slots)}
    return replace(past, looked_at=frozenset(looked_at), parts=kept)


def features_of(system: System, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the log as they are judged: the features, and of each view whether it was missing or stale (0 or 1, of
    the whole prediction). Where no feature could be read, the log holds defaults: they are no values."""
    degraded = rows["degraded"].astype(str)
    unread = degraded.str.contains(FEATURES_UNAVAILABLE, regex=False)
    values = {name: rows[name].astype(np.float64) for name in system.features.request_features}
    for view in system.features.views:
        values |= {each.name: rows[each.name].astype(np.float64).mask(unread) for each in view.features}
    for view in system.features.views:
        told = unread | ("; " + degraded).str.contains(f"; {view.name}: ", regex=False)
        values[f"{view.name}: missing"] = told.astype(np.float64)
    return pd.DataFrame(values)


def columns_of(system: System) -> tuple[str, ...]:
    """The names of what `features_of` gives."""
    views = system.features.views
    return (
        *system.features.request_features,
        *(each.name for view in views for each in view.features),
        *(f"{view.name}: missing" for view in views),
    )


def features_part(system: System, version: str) -> str:
    """The name of the part that holds the features of rows that this version is given."""
    return "features" if system.model.retrieval is None else f"features of {version}"


def score_part(version: str) -> str:
    """The name of the part that holds a version's score."""
    return f"score of {version}"


def past_windows(past: Past, part: Part, start: int, slots: int) -> Sketches:
    """The windows of so many slots before the one that begins with slot `start`, oldest first, no two of which share a
    row; those without a row in their first or last third are not whole and left out."""
    first = math.ceil(max(past.begin, start * past.slot - HORIZON) / past.slot)
    begins = np.arange(start - slots, first - 1, -slots)[::-1]
    places = np.round(part.slots.starts / past.slot).astype(np.intp)
    wanted = begins[:, None] + np.arange(slots)
    at = np.minimum(np.searchsorted(places, wanted), len(places) - 1)
    found = places[at] == wanted
    windows = Sketches(
        np.asarray(begins * past.slot, np.float64),
        (part.slots.rows[at] * found).sum(axis=1),
        (part.slots.predictions[at] * found).sum(axis=1),
        np.einsum("ijk,ij->ik", part.slots.counts[at], found.astype(np.float64)),
    )
    part_of_it = max(1, slots // 3)
    return windows[found[:, :part_of_it].any(axis=1) & found[:, -part_of_it:].any(axis=1)]


def _count(parts: dict[str, list[Part]], frame: pd.DataFrame, system: System, slot: float) -> None:
    """Add the rows of a stretch of the log to its parts; a new part's bins are learned from them."""
    for name, rows in _rows_by_part(frame, system):
        known = parts.get(name)
        if known is None and len(rows) < FEWEST_ROWS:
            continue
        values = rows[[SCORE]].astype(np.float64) if name.startswith(SCORE) else features_of(system, rows)
        columns = known[0].columns if known else _learned(values)
        number = np.floor(rows[AT].to_numpy(np.float64) / slot).astype(np.intp)
        slots, where = np.unique(number, return_inverse=True)
        counted = sketches(
            values, columns, where.astype(np.intp), np.asarray(slots * slot, np.float64), rows["prediction_id"]
        )
        parts.setdefault(name, []).append(Part(columns, counted))


def _rows_by_part(frame: pd.DataFrame, system: System) -> Iterator[tuple[str, pd.DataFrame]]:
    served = frame[frame["model_version"] != FALLBACK_VERSION]
    if system.model.retrieval is None and len(served):
        yield features_part(system, ""), served
    for version, rows in served.groupby("model_version", sort=False):
        yield score_part(str(version)), rows
        if system.model.retrieval is not None:
            yield features_part(system, str(version)), rows


def _learned(values: pd.DataFrame) -> tuple[Column, ...]:
    """Bins; those of a column that was never read divide at 0, so that its missing values are counted nonetheless."""
    sample = values if len(values) <= LEARNING_ROWS else values.sample(LEARNING_ROWS, random_state=0)
    return learn(sample.assign(**dict.fromkeys(sample.columns[sample.isna().all()], 0.0)))


def _together(counted: list[Part]) -> Part:
    return Part(counted[0].columns, joined([part.slots for part in counted]))


def _since(slots: Sketches, first: float) -> Sketches:
    return slots[slots.starts >= first]


def _newest(missing: list[int], most: int) -> range:
    """Take the last of the slots, and at most so many of its neighbours, off the list."""
    stop = missing[-1] + 1
    start = stop
    while missing and missing[-1] == start - 1 and stop - start < most:
        start = missing.pop()
    return range(start, stop)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _written(past: Past) -> dict[str, Floats | Codes]:
    told = {
        "names": past.names,
        "slot": past.slot,
        "begin": past.begin,
        "settled": past.settled,
        "shifted_since": past.shifted_since,
        "version": past.version,
        "parts": {name: [_as_json(column) for column in part.columns] for name, part in past.parts.items()},
    }
    arrays = {"told": np.array(json.dumps(told)), "looked_at": np.array(sorted(past.looked_at), np.int64)}
    for place, part in enumerate(past.parts.values()):
        slots = part.slots
        arrays |= {f"starts {place}": slots.starts, f"rows {place}": slots.rows.astype(np.uint32)}
        arrays |= {f"predictions {place}": slots.predictions.astype(np.uint32)}
        arrays |= {f"counts {place}": slots.counts.astype(np.uint32)}
    return arrays


def _read(kept: Mapping[str, Floats]) -> Past:
    told = json.loads(str(kept["told"]))
    parts = {}
    for place, (name, columns) in enumerate(told.pop("parts").items()):
        arrays = [kept[f"{kind} {place}"].astype(np.float64) for kind in ("starts", "rows", "predictions", "counts")]
        parts[name] = Part(tuple(map(_column, columns)), Sketches(*arrays))
    names = tuple(told.pop("names"))
    return Past(names, looked_at=frozenset(kept["looked_at"].tolist()), parts=parts, **told)


def _as_json(column: Column) -> dict[str, object]:
    edges = (
        column.edges if column.edges is not None else np.empty(0)
    )  # features and scores are numbers: bins have edges
    return {"name": column.name, "labels": column.labels, "edges": edges.tolist()}


def _column(told: Mapping[str, Sequence[str]]) -> Column:
    return Column(str(told["name"]), tuple(told["labels"]), np.array(told["edges"], np.float64))
