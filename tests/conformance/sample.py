"""A system, its world and a small history, with the model fitted on the older part: what the sentences are about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel

from contracts.system import AT, Columns, Decision, Estimator, Evidence, FeatureView, Floats, Matrix, Retriever, System
from contracts.world import PublishingWorld, World
from infra.live_history import live_features
from pipelines.aggregate import STAMP, view_states
from pipelines.onnx_export import score, to_onnx
from systems.coherence import row_columns

END = datetime(2026, 3, 15, tzinfo=UTC)
LONG_AGO = END - timedelta(days=3650)
ROWS, SEED = 60_000, 7


@dataclass(frozen=True)
class Sample:
    """A system, its world, and a small history of it."""

    system: System
    world: World
    start: datetime
    history: pd.DataFrame

    @cached_property
    def retriever(self) -> Retriever | None:
        """Stage one, fitted on the oldest share of the history; None where candidates come with the request."""
        if (retrieval := self.system.model.retrieval) is None:
            return None
        older = self.history.iloc[: int(len(self.history) * retrieval.share)]
        until = datetime.fromtimestamp(float(older[AT].iloc[-1]), UTC)
        items = cast(PublishingWorld, self.world).items(LONG_AGO, until)
        return retrieval.fit(columns_of(older), columns_of(items), SEED)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The history as a ranker is trained on it: all of it, or what is newer than stage one, which filled it in."""
        return self.filled_in(self.history.iloc[self._first :].reset_index(drop=True))

    def filled_in(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows with what stage one says of them."""
        if self.retriever is None:
            return rows
        return rows.assign(**self.retriever.columns(columns_of(rows)))

    @cached_property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The rows as those of a request would be: the row columns and `at`."""
        return {name: self.rows[name].to_numpy() for name in (*row_columns(self.system), AT)}

    @cached_property
    def labels(self) -> Floats:
        return self.rows[self.system.task.target].to_numpy(np.float64)

    @cached_property
    def features(self) -> Matrix:
        """Point-in-time features of every row, from the platform's own aggregation."""
        return features_of(self.system, self.history, self.rows)

    @cached_property
    def cut(self) -> int:
        """The first row of the hold-out, which is the newest by time."""
        return int(len(self.rows) * (1 - self.system.training.holdout))

    @cached_property
    def weights(self) -> Floats:
        """As training has them: a row counts half when it is a half-life old."""
        at = self.rows[AT].to_numpy(np.float64)
        weights: Floats = 0.5 ** ((at.max() - at) / self.system.training.half_life.total_seconds())
        return weights / weights.mean()

    @cached_property
    def estimator(self) -> Estimator:
        """The model, fitted on all rows before the hold-out."""
        built = self.system.model.build(SEED)
        return built.fit(self.features[: self.cut], self.labels[: self.cut], self.weights[: self.cut])

    @cached_property
    def onnx(self) -> bytes:
        """The model as it is served."""
        return to_onnx(self.estimator, self.features.shape[1])

    @cached_property
    def normalised(self) -> float:
        """The model's normalised cross-entropy on the hold-out: what monitoring holds the log against."""
        y = self.labels[self.cut :]
        return log_loss(score(self.onnx, self.features[self.cut :]), y) / log_loss(np.full(len(y), y.mean()), y)

    @property
    def _first(self) -> int:
        retrieval = self.system.model.retrieval
        return int(len(self.history) * retrieval.share) if retrieval else 0


def sampled(system: System) -> Sample:
    """A week, and twice as long as a label takes: so that features made of labels have something to say."""
    start = END - timedelta(days=7) - 2 * system.requirements.label_delay
    world = system.world(SEED)
    return Sample(system, world, start, pd.concat(world.history(start, END, ROWS), ignore_index=True))


def columns_of(table: pd.DataFrame) -> dict[str, NDArray[Any]]:
    return {str(name): table[name].to_numpy() for name in table}


def features_of(system: System, events: pd.DataFrame, rows: pd.DataFrame) -> Matrix:
    """Features of each row as of its own time, from the events of the source."""
    found: dict[str, NDArray[Any]] = {}
    until = datetime.fromtimestamp(float(rows[AT].max()), UTC) + timedelta(days=1)
    for view in system.features.views:
        if view.live:
            found |= columns_of(live_features(system, view, events, rows))
        else:
            found |= as_of(rows, view, view_states(view, events, None, until))
    found |= system.features.on_request({name: rows[name].to_numpy() for name in (*row_columns(system), AT)})
    return np.column_stack([np.asarray(found[name], dtype=np.float32) for name in system.features.names])


def as_of(rows: pd.DataFrame, view: FeatureView, states: pd.DataFrame) -> Mapping[str, NDArray[Any]]:
    """The latest state of each row's entity at the row's own time, or the defaults."""
    keys = list(view.entities)
    stamps = pd.to_datetime((rows[AT] * 1e6).round().astype("int64"), unit="us", utc=True)
    left = rows[keys].assign(**{STAMP: stamps.astype(states[STAMP].dtype)})
    joined = pd.merge_asof(left, states.sort_values(STAMP), on=STAMP, by=keys, tolerance=view.ttl)
    return {feature.name: joined[feature.name].fillna(feature.default).to_numpy() for feature in view.features}


def defaults_of(system: System, rows: Columns) -> Matrix:
    """The features of rows of whom nothing is known."""
    declared = [f.default for view in system.features.views for f in view.features]
    on_request = system.features.on_request(rows)
    columns = [np.full(len(rows[AT]), value) for value in declared]
    return np.column_stack([*columns, *(on_request[n] for n in system.features.request_features)]).astype(np.float32)


def request_of(system: System, body: Mapping[str, Any]) -> BaseModel:
    return system.task.request.model_validate(dict(body))


def rows_of(sample: Sample, request: BaseModel) -> dict[str, NDArray[Any]]:
    """A request's rows, with when it is made: its own, or the candidates that stage one finds for it."""
    if sample.system.serving.rows is not None:
        rows = sample.system.serving.rows(request)
    else:
        assert sample.retriever is not None
        rows = sample.retriever.candidates(request.model_dump(mode="json"), END.timestamp())
    return {**rows, AT: np.full(len(next(iter(rows.values()))), END.timestamp())}


def answered(sample: Sample, request: BaseModel, stream: int) -> tuple[dict[str, NDArray[Any]], Decision]:
    """A request's rows, and what is decided on the scores of the fallback."""
    system, rows = sample.system, rows_of(sample, request)
    features = dict(zip(system.features.names, defaults_of(system, rows).T, strict=True))
    scores = np.asarray(system.serving.fallback(request, rows, features), dtype=np.float64)
    return rows, system.serving.respond(request, Evidence(rows, features, scores), np.random.default_rng(stream))


def log_loss(scores: Floats, labels: Floats) -> float:
    """Mean log loss a row."""
    kept = np.clip(scores, 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(kept) + (1 - labels) * np.log1p(-kept)))


def take(rows: Columns, positions: slice | Sequence[int]) -> dict[str, NDArray[Any]]:
    return {name: values[positions] for name, values in rows.items()}
