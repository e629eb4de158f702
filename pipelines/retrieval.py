"""Stage one in training: fitted on the oldest rows, asked about the newer ones, on which the ranker is trained.

Both see each other's work as they will in serving. What stage one says of rows that it learned from is an echo of
their own labels, and a ranker that is trained on echoes trusts them too much; so the rows are divided by time. The
stage one that was fitted is the one that is served, though newer rows are there by then: refitted on all of them it
would say other things than the ranker has learned from, on another scale, and the hold-out's figures would be those of
a pair that never serves. What is new in the meantime reaches it as items, not as labels: published items are added,
here and while it serves.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import CorruptModel, InvalidInput
from contracts.system import AT, Columns, Matrix, Retrieval, Retriever, System
from infra import wiring
from infra.settings import Settings
from pipelines.training_rows import TrainingRows

SEED = 0
Say = Callable[[str], None]


@dataclass(frozen=True)
class StageOne:
    """A fitted stage one as it is registered, the rows that it left for the ranker, and what it was fitted on."""

    content: bytes
    rows: TrainingRows  # with what stage one says of them in their columns, and in the features made of these
    metrics: Mapping[str, float]
    facts: str


def catalogue(settings: Settings, system: System) -> pd.DataFrame | None:
    """All items that the archive knows; None for a system without a stage one."""
    return None if system.model.retrieval is None else wiring.archive(settings).items(system)


def fit(system: System, rows: TrainingRows, items: pd.DataFrame | None, say: Say) -> StageOne | None:
    """Fit stage one on the oldest share of the rows and on what was published before the others; None for a system
    without one. InvalidInput when there is nothing to fit on."""
    if (retrieval := system.model.retrieval) is None:
        return None
    older, newer = _divided(rows, retrieval.share)
    known, later = _published(system, items, float(newer.at[0]))
    say(f"fitting stage one on {len(older):,} rows and {len(known):,} items")
    started = time.monotonic()
    retriever = retrieval.fit(_labelled(system, older), _columns(known), SEED)
    if len(later):
        retriever.add(_columns(later))
    told = told_of(system, retriever, newer)
    metrics = retrieval.metrics(retriever, _labelled(system, told))
    content = retriever.dump()
    say(
        f"stage one is fitted, knows {len(known) + len(later):,} items and takes {len(content) / 1e6:.1f} MB "
        f"({time.monotonic() - started:.1f} s)"
    )
    facts = f"fitted on {len(older):,} rows to {older.span[1]:%Y-%m-%d %H:%M} and {len(known):,} items"
    return StageOne(content, told, metrics, facts)


def told_of(system: System, retriever: Retriever, rows: TrainingRows) -> TrainingRows:
    """The rows with what this stage one says of them, in their columns and wherever these are looked at."""
    columns = _told(system, retriever, rows.rows)
    computed = system.features.on_request(columns)
    found = {**computed, **columns}
    slices = {name: found[name].astype(str) if name in found else values for name, values in rows.slices.items()}
    return replace(rows, X=_with_request_features(system, rows.X, computed), rows=columns, slices=slices)


def inputs_of(system: System, content: bytes, X: Matrix, rows: Columns, items: pd.DataFrame | None) -> Matrix:
    """The ranker's inputs of these rows as they would be with the stage one in `content`, which is told of all items as
    it would be in serving; `CorruptModel` when it cannot be opened."""
    retrieval = _retrieval(system)
    try:
        retriever = retrieval.load(content)
        if items is not None and len(items):
            retriever.add(_columns(items))
        columns = _told(system, retriever, rows)
    except Exception as error:  # a system's own code, on bytes that may be of an older one
        raise CorruptModel(f"Stage one cannot be used: {type(error).__name__}: {error}.") from error
    return _with_request_features(system, X, system.features.on_request(columns))


def _retrieval(system: System) -> Retrieval:
    if system.model.retrieval is None:
        raise CorruptModel(f"The version has a stage one, and {system.name} has none any more.")
    return system.model.retrieval


def _divided(rows: TrainingRows, share: float) -> tuple[TrainingRows, TrainingRows]:
    """The oldest share, and the rest; rows of one moment stay together. Each part's weights have the mean 1."""
    first = rows.at[min(int(len(rows) * share), len(rows) - 1)]
    older = rows.at < first
    if not older.any():
        raise InvalidInput(
            f"The oldest {share:.0%} of {len(rows):,} rows are all of one moment, so stage one has none of its own."
        )
    return tuple(_reweighed(rows.where(part)) for part in (older, ~older))  # type: ignore[return-value]  # two of them


def _reweighed(rows: TrainingRows) -> TrainingRows:
    return replace(rows, weights=rows.weights / rows.weights.mean())


def _published(system: System, items: pd.DataFrame | None, moment: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The items published before a moment, and those since."""
    if items is None or not (before := items[AT] < moment).any():
        raise InvalidInput(
            f"The catalogue of {system.name} holds nothing older than the rows of its ranker; publish its items "
            f"through the gateway, or bring a world's in with `flywheel ingest {system.name} --world`."
        )
    return items[before], items[~before]


def _labelled(system: System, rows: TrainingRows) -> Columns:
    return {**rows.rows, system.task.target: rows.y}


def _columns(items: pd.DataFrame) -> Columns:
    return {str(name): items[name].to_numpy() for name in items}


def _told(system: System, retriever: Retriever, rows: Columns) -> Columns:
    said = retriever.columns(rows)
    return {**rows, **{name: _said(name, said, len(rows[AT])) for name in _retrieval(system).columns}}


def _said(name: str, said: Columns, rows: int) -> NDArray[np.float64]:
    values = np.asarray(said.get(name, ()), dtype=np.float64)
    if values.shape != (rows,) or not np.isfinite(values).all():
        raise InvalidInput(f"Stage one says nothing finite of each of {rows:,} rows in the column {name!r}.", name)
    return values


def _with_request_features(system: System, X: Matrix, computed: Columns) -> Matrix:
    """The features with those of the request, which are the last ones, computed anew."""
    names = system.features.request_features
    if not names:
        return X
    made = np.column_stack([np.asarray(computed[name], dtype=np.float32) for name in names])
    return np.ascontiguousarray(np.concatenate([X[:, : -len(names)], made], axis=1), dtype=np.float32)
