"""Live features of the past: what the gateway would have read, or did read, at each row's own time.

The events of a live view are those that the source brought in and those that the gateway answered, whatever became of
them; they are the ones that `materialize` fills into Redis. Training on the log needs none of this, for the log holds
what was read. History is joined here, by the same windows (`infra/live_windows.py`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
import pandas as pd

from contracts.errors import InvalidInput
from contracts.ports import Archive
from contracts.system import AT, Columns, FeatureView, System
from infra import wiring
from infra.live_windows import History, Ints, live_views, longest, marks, summed, values_of, window_values
from infra.settings import Settings

MICROSECOND = timedelta(microseconds=1)
END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class Events(Protocol):
    """What is asked of the event table, which the wiring chooses."""

    def read(self, system: System, since: datetime, until: datetime) -> pd.DataFrame: ...


def with_live_features(settings: Settings, system: System, rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` (row columns and `at`) with a float32 column for each feature of the system's live views."""
    views = live_views(system)
    if not views:
        return rows
    at = rows[AT].to_numpy(np.float64) if len(rows) else np.zeros(1)
    since = datetime.fromtimestamp(at.min(), UTC) - timedelta(seconds=reach(system))
    until = datetime.fromtimestamp(at.max(), UTC) + MICROSECOND
    events = happened(system, wiring.events(settings), wiring.archive(settings), since, until)
    return pd.concat([rows, *(live_features(system, view, events, rows) for view in views)], axis=1)


def filled(settings: Settings, system: System, until: datetime) -> dict[str, int]:
    """Fill the live views' online store with the events of their windows before `until` and all later ones: entities
    with events, by view."""
    if not live_views(system):
        return {}
    since = until - timedelta(seconds=reach(system))
    events = happened(system, wiring.events(settings), wiring.archive(settings), since, END_OF_TIME)
    return dict(wiring.live_features(settings).fill(system, columns(events)))


def happened(system: System, events: Events, archive: Archive, since: datetime, until: datetime) -> pd.DataFrame:
    """The live views' events in an interval, each once, in the order of `at`: the source's id, `at`, the entities' and
    the summed columns. What was served is known by the id that it has as an event of the source."""
    source = system.features.source
    found, served = events.read(system, since, until), archive.predictions(system, since, until)
    if len(served):
        made = logged_events(system, served.assign(**{system.task.target: np.nan}))
        found = pd.concat([found, made[list(found)]]) if len(found) else made
    once = found[[source.id, AT, *_needed(system)]].drop_duplicates(source.id)
    told = {name: value for name, value in source.optional.items() if name in once}
    return once.fillna(told).sort_values(AT, kind="stable", ignore_index=True)


def logged_events(system: System, rows: pd.DataFrame) -> pd.DataFrame:
    """Labelled rows of the log as events of the source, known by their prediction and their position in it."""
    event_source = system.features.source
    ids = rows["prediction_id"].astype(str) + ":" + rows["position"].astype(str)
    made = {event_source.id: ids, AT: rows[AT], system.task.target: rows[system.task.target]}
    for name in event_source.columns:
        if name in rows:
            made[name] = rows[name]
        elif name in event_source.optional:
            made[name] = pd.Series(event_source.optional[name], index=rows.index)
        else:
            raise InvalidInput(f"The log of {system.name} lacks {name!r}, which its source needs.", name)
    return pd.DataFrame(made)


def live_features(system: System, view: FeatureView, events: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The features of a live view for each row as of its `at`: float32 columns, with the rows' index.

    Events as `happened` gives them; those from the longest window before the first row to the last one are among them.
    """
    entity, asked = _numbered(view, events, rows)
    order = np.lexsort((_marks(events, system.features.source.id), events[AT].to_numpy(np.float64), entity))
    ordered = {name: values[order] for name, values in columns(events).items()}
    history = History(entity[order], ordered[AT].astype(np.float64), values_of(view, ordered))
    moment = rows[AT].to_numpy(np.float64)
    sorting = np.lexsort((moment, asked))  # neighbours in memory make the search ten times as fast
    found = np.empty((len(rows), len(view.features)), dtype=np.float32)
    found[sorting] = window_values(view, history, asked[sorting], moment[sorting])
    return pd.DataFrame(found, columns=[feature.name for feature in view.features], index=rows.index)


def columns(frame: pd.DataFrame) -> Columns:
    """A table's columns."""
    return {str(name): frame[name].to_numpy() for name in frame.columns}


def reach(system: System) -> float:
    """Seconds of the longest window of the live views."""
    return max(longest(view) for view in live_views(system))


def _needed(system: System) -> Sequence[str]:
    """The columns that the live views read, besides `at`."""
    views = live_views(system)
    return sorted({name for view in views for name in (*view.entities, *summed(view))})


def _numbered(view: FeatureView, *tables: pd.DataFrame) -> tuple[Ints, ...]:
    """Each table's entities as numbers, the same ones for the same entity."""
    keys = list(view.entities)
    together = pd.concat([table[keys].astype(str) for table in tables], ignore_index=True)
    numbers = together.groupby(keys, sort=False).ngroup().to_numpy(np.int64)
    ends = np.cumsum([len(table) for table in tables])[:-1]
    return tuple(np.split(numbers, ends))


def _marks(events: pd.DataFrame, key: str) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The events' marks where they are asked for: among events of one moment."""
    found = np.zeros(len(events), dtype=np.uint64)
    tied = events.duplicated(AT, keep=False).to_numpy()
    found[tied] = marks(events[key].to_numpy()[tied].tolist())
    return found
