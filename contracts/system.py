"""A machine-learning system as the platform sees it: the seven steps of its design, as frozen data and functions.

A folder `systems/NAME/` holds one file a step, each binding one constant: REQUIREMENTS, TASK, FEATURES, MODEL,
TRAINING, SERVING and MONITORING; `world.py` binds WORLD. `systems.load(NAME)` assembles them into a `System`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from contracts.world import WorldFactory

# Rows travel as columns of equal length. The same functions take a request's candidates and a table of history.
Columns = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]  # one value a row
Matrix = NDArray[np.float32]  # rows × features, in the order of `Features.names`

AT = "at"  # the column every row has: when it happened, in seconds since the epoch (float64), UTC
ZERO = timedelta(0)


@dataclass(frozen=True)
class Requirements:
    """Step 1: what the business asks of the system, in figures that the platform enforces and reports."""

    goal: str
    users: int
    items: int
    requests_per_second: float
    latency_p99: timedelta
    deadline: timedelta  # the gateway answers by then, with the fallback if need be
    freshness: timedelta  # how old the materialised features may be
    label_delay: timedelta  # the attribution window: how long an outcome may take before its absence is an answer
    availability: float
    pii: tuple[str, ...]
    region: str
    max_candidates: int
    online_metrics: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """Step 2: inputs, outputs and the kind of learning task."""

    kind: Literal["binary_classification"]
    request: type[BaseModel]
    response: type[BaseModel]
    target: str  # the label's column, 0.0 or 1.0
    item: str | None  # the row column by which an outcome names its item; None when a prediction has one outcome
    example: Mapping[str, Any]  # a real request, shown in the API's documentation


@dataclass(frozen=True)
class Source:
    """A table of events, as raw data comes in and as the log of served predictions continues it."""

    name: str
    id: str
    columns: Mapping[str, Literal["string", "float", "integer"]]  # besides `id` and `at`
    optional: Mapping[str, Any] = field(default_factory=dict)  # columns that may be absent, with what stands for them


@dataclass(frozen=True)
class Feature:
    """A windowed aggregate over one entity's events, with the value that stands in when it is missing or stale.

    `mean` is smoothed towards `prior` as if by `strength` more events: (sum + prior·strength) / (count + strength).
    An event counts from `after` on: features made of labels set it to the label delay, or they would leak.
    """

    name: str
    aggregate: Literal["count", "sum", "mean"]
    window: timedelta
    default: float
    column: str | None = None  # what is summed or averaged; None for a count
    after: timedelta = ZERO
    prior: float = 0.0
    strength: float = 0.0


@dataclass(frozen=True)
class FeatureView:
    """Features of one entity (one or more key columns), computed every `every` and good for `ttl`."""

    name: str
    entities: tuple[str, ...]
    features: tuple[Feature, ...]
    every: timedelta
    ttl: timedelta


def _nothing_on_request(rows: Columns) -> Columns:
    return {}


@dataclass(frozen=True)
class Features:
    """Step 3: the source of events, the views over it, and what is computed from the request itself.

    `on_request` takes rows (row columns and `at`) and gives one float column for each name in `request_features`.
    It is the only implementation: history, the log and live requests all pass through it.
    """

    source: Source
    views: tuple[FeatureView, ...]
    request_features: tuple[str, ...] = ()
    on_request: Callable[[Columns], Columns] = _nothing_on_request

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the model's input, in order: each view's features, then those of the request."""
        return tuple(f.name for view in self.views for f in view.features) + self.request_features


class Estimator(Protocol):
    """What scikit-learn calls a classifier."""

    def fit(self, X: Matrix, y: Floats, sample_weight: Floats | None = None) -> "Estimator": ...

    def predict_proba(self, X: Matrix) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Model:
    """Step 4: the estimator (built from a seed), and why this one and not the next simpler one."""

    name: str
    why: str
    build: Callable[[int], Estimator]


@dataclass(frozen=True)
class Gate:
    """What a candidate must show before it may serve. Margins are in log loss per row, lower is better."""

    min_rows: int
    margin: float  # the upper end of the interval of (candidate − champion) must lie below this
    slice_margin: float  # the same on every slice of at least `min_slice_rows`: the lower end must not lie above this
    min_slice_rows: int
    confidence: float = 0.95
    resamples: int = 500


@dataclass(frozen=True)
class Training:
    """Step 5: how rows are split and weighed, what the model is held against, and the gate."""

    holdout: float  # the last share of the rows by time
    window: timedelta  # how far back training looks
    half_life: timedelta  # a row this old weighs half, so that a changed world is learned from its newest rows
    max_rows: int
    baselines: Mapping[str, Callable[[int], Estimator]]
    slices: tuple[str, ...]  # row columns or request features whose values cut the hold-out into slices
    gate: Gate


@dataclass(frozen=True)
class Decision:
    """What the client is answered, and which rows it was shown, in order."""

    result: BaseModel
    shown: NDArray[np.int64]  # positions in the rows
    propensity: Floats  # for each shown row, the probability that it was shown in its place


@dataclass(frozen=True)
class Serving:
    """Step 6: request → rows; scores → response (re-rank); and scores for when no model answers.

    `rows` and `fallback` are pure. `respond` takes a generator seeded from the prediction's id, for exploration.
    """

    rows: Callable[[Any], Columns]
    respond: Callable[[Any, Columns, Floats, np.random.Generator], Decision]
    fallback: Callable[[Any, Columns], Floats]


@dataclass(frozen=True)
class Monitoring:
    """Step 7: the windows that are judged, what counts as a fall in quality, and how often it may be acted on."""

    window: timedelta
    min_rows: int
    quality_margin: float  # harm: log loss per row, more than this above what the hold-out's quality would lose
    confidence: float
    drift_share: float  # data drift: the share of columns that drifted
    cooldown: timedelta  # between two automatic retrainings


@dataclass(frozen=True)
class System:
    """One system on the platform."""

    name: str
    requirements: Requirements
    task: Task
    features: Features
    model: Model
    training: Training
    serving: Serving
    monitoring: Monitoring
    world: WorldFactory
