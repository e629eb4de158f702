"""The materialize pipeline: events → states of the views → the offline store → the online store.

Live views have no states: their online store is given the events of their windows (`infra/live_history.py`), which adds
what the gateway could not, and says that nothing is missing.

Each view remembers how far its states have been computed and what they were then, so a run does only what is new. The
order of a step is: write the states (twice is once), then remember; a run killed anywhere is mended by running again.

Events may come late: what was served becomes events only when its labels are final. The states of the past stay what
they were, for that is what was served; an entity whose state at the last tick is no longer what was written then gets
its true one at the next tick. When a view's definition has changed, or events came in from before the first one that it
was computed from, the view is computed anew.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import flow
from prefect.logging import get_run_logger
from pydantic import AwareDatetime

import systems
from contracts.ports import FeatureStore
from contracts.system import AT, FeatureView, System
from infra import wiring
from infra.live_history import filled
from infra.live_windows import ticked_views
from infra.settings import Settings
from pipelines.aggregate import EPOCH, STAMP, empty_values, lookback, states_at, tick, tick_time, view_states

Say = Callable[[str], None]
DAY = timedelta(days=1)
PROGRESS = b"flywheel"  # the key of a progress file's metadata


@flow(name="materialize")
def materialize(system: str, until: AwareDatetime | None = None) -> dict[str, int]:
    """Bring a system's features up to `until` (now), offline and online: entities written online, by view."""
    settings, logger = Settings.load(), get_run_logger()
    return dict(run(settings, systems.load(system), until or wiring.clock(settings).now(), logger.info))


def run(settings: Settings, system: System, until: datetime, say: Say) -> Mapping[str, int]:
    """Materialise as the flow does, with stores as the settings say."""
    store = wiring.feature_store(settings)
    with _alone(settings.path("features", system.name, ".lock")):
        compute(settings, system, store, until, say)
        written = {**store.materialize(system, until), **filled(settings, system, until)}
    say("online: " + ", ".join(f"{count:,} × {view}" for view, count in written.items()))
    return written


@dataclass(frozen=True)
class Progress:
    """How far a view has been computed, and the states that were the latest then."""

    until: datetime | None
    began: datetime  # the first event of all
    definition: str
    states: pd.DataFrame


def compute(settings: Settings, system: System, store: FeatureStore, until: datetime, say: Say) -> None:
    """Write the states of the ticked views up to `until` to the offline store; progress is kept beside them."""
    events, folder = wiring.events(settings), settings.path("features", system.name, "view").parent
    span = events.span(system)
    if span is None:
        say(f"{system.name} has no events yet.")
        return
    views = ticked_views(system)
    if not views:
        return
    progress = {view.name: _resumed(system, store, folder, view, span[0]) for view in views}
    reach = max(lookback(view) for view in views)
    for end in _steps(min(p.until or p.began for p in progress.values()), until, reach):
        behind = [view for view in views if _is_behind(view, progress[view.name], end)]
        if not behind:
            continue
        start = min(progress[view.name].until or progress[view.name].began for view in behind)
        read = _needed(events.read(system, start - reach, end), views)
        for view in behind:
            states = new_states(view, read, progress[view.name], end)
            store.write(system, view.name, states)
            progress[view.name] = _advanced(view, progress[view.name], states, end)
            _remember(_file(folder, view), progress[view.name])
            say(f"{view.name}: {len(states):,} states up to {end:%Y-%m-%d %H:%M} from {len(read):,} events")


def new_states(view: FeatureView, events: pd.DataFrame, progress: Progress, until: datetime) -> pd.DataFrame:
    """The states after `progress` up to `until`, and at the first tick after it those that late events changed."""
    states = view_states(view, events, progress.until, until)
    if progress.until is None:
        return states
    first = pd.Timestamp(tick_time(view, tick(view, progress.until) + 1))
    late = _differing(view, states_at(view, events, progress.until), progress.states)
    late[STAMP] = pd.Series(first, index=late.index, dtype=states[STAMP].dtype)
    return pd.concat([states, late[states.columns]]).drop_duplicates([*view.entities, STAMP], keep="first")


def _differing(view: FeatureView, found: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Rows of `found` that are not what is known; an entity that is in one of the two only is empty in the other."""
    keys, empty = list(view.entities), empty_values(view)
    both = found.merge(known, on=keys, how="outer", suffixes=("", " known"))
    changed = pd.Series(data=False, index=both.index)
    for name, value in empty.items():
        both[name] = both[name].fillna(value)
        changed |= both[name] != both[f"{name} known"].fillna(value)
    return both.loc[changed, [*keys, *empty]]


def _steps(start: datetime, until: datetime, reach: timedelta) -> Iterator[datetime]:
    """Ends of the stretches in which history is computed, at whole multiples since the epoch: about as long as the
    events of a stretch must reach back, so that memory is bounded and each event is read about twice."""
    length = DAY * -(-reach // DAY)
    end = EPOCH + (start - EPOCH) // length * length + length
    while end < until:
        yield end
        end += length
    yield until


def _is_behind(view: FeatureView, progress: Progress, end: datetime) -> bool:
    """Whether there is a tick between the two."""
    return tick(view, end) > (tick(view, progress.until) if progress.until else -1)


def _needed(events: pd.DataFrame, views: tuple[FeatureView, ...]) -> pd.DataFrame:
    """Only the columns that some view reads."""
    columns = {key for view in views for key in view.entities}
    columns |= {feature.column for view in views for feature in view.features if feature.column}
    return events[[AT, *sorted(columns)]]


def _resumed(system: System, store: FeatureStore, folder: Path, view: FeatureView, first: datetime) -> Progress:
    """Where the view was left; at nothing when what is there cannot be built on, which is then forgotten."""
    definition = hashlib.sha256(repr(view).encode()).hexdigest()
    path = _file(folder, view)
    progress = _recalled(path) if path.exists() else None
    if progress and progress.definition == definition and progress.began <= first:
        return progress
    store.forget(system, view.name)  # also what a run left that was killed before it could remember
    path.unlink(missing_ok=True)
    nothing = pd.DataFrame({name: pd.Series(dtype=object) for name in view.entities})
    features = {feature.name: pd.Series(dtype=float) for feature in view.features}
    return Progress(None, first, definition, nothing.assign(**features))


def _advanced(view: FeatureView, progress: Progress, states: pd.DataFrame, until: datetime) -> Progress:
    newest = states.sort_values(STAMP, kind="stable").drop(columns=STAMP)
    latest = pd.concat([frame for frame in (progress.states, newest) if len(frame)] or [progress.states])
    latest = latest.drop_duplicates(list(view.entities), keep="last").reset_index(drop=True)
    return Progress(until, progress.began, progress.definition, latest)


def _file(folder: Path, view: FeatureView) -> Path:
    return folder / view.name / "progress"


def _recalled(path: Path) -> Progress:
    table = pq.read_table(path)
    told = json.loads(table.schema.metadata[PROGRESS])
    until, began = (datetime.fromisoformat(told[name]) for name in ("until", "began"))
    return Progress(until, began, told["definition"], table.to_pandas())


def _remember(path: Path, progress: Progress) -> None:
    """In one rename, on the disk when it returns."""
    told = {"began": progress.began.isoformat(), "definition": progress.definition}
    told["until"] = (progress.until or EPOCH).isoformat()
    table = pa.Table.from_pandas(progress.states, preserve_index=False)
    unfinished = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)  # a view of late labels has no state at first, and so no folder
    pq.write_table(table.replace_schema_metadata({PROGRESS: json.dumps(told)}), unfinished)
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One run at a time for a system; a crash lets go of it."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
