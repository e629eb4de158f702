"""A machine-learning system as the platform sees it: the seven steps of its design, as frozen data and functions.

A folder `systems/NAME/` holds one file a step, each binding one constant: REQUIREMENTS, TASK, FEATURES, MODEL,
TRAINING, SERVING and MONITORING; `world.py` binds WORLD. `systems.load(NAME)` assembles them into a `System`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, PlainSerializer

from contracts.online_metric import OnlineMetric
from contracts.world import WorldFactory

# Rows travel as columns of equal length. The same functions take a request's candidates and a table of history.
# They are for reading: what all rows of a request share may be one value in memory, which NumPy refuses to write to.
Columns = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]  # one value a row
Matrix = NDArray[np.float32]  # rows × features, in the order of `Features.names`

AT = "at"  # the column every row has: when it happened, in seconds since the epoch (float64), UTC
ZERO = timedelta(0)
Named = Annotated[OnlineMetric, PlainSerializer(lambda metric: metric.name, return_type=str)]  # in JSON, by its name


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
    online_metrics: tuple[Named, ...]  # of each version, as a whole and by `Training.slices`

    @property
    def history(self) -> timedelta:
        """How far back a first model's events go: far enough that most of their labels are final."""
        return max(timedelta(days=14), 4 * self.label_delay)


@dataclass(frozen=True)
class Task:
    """Step 2: inputs, outputs and the kind of learning task."""

    kind: Literal["binary_classification"]
    request: type[BaseModel]
    response: type[BaseModel]
    target: str  # the label's column, 0.0 or 1.0
    item: str | None  # the row column by which an outcome names its item; None when a prediction has one outcome
    example: Mapping[str, Any]  # a real request, shown in the API's documentation
    censored: bool = False  # the answer decides whether there will be a label: rows count by one over their propensity


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
    """Features of one entity (one or more key columns), computed every `every` and good for `ttl`.

    With `every` zero the view is live: a request that was answered is an event of its entities at once, and the windows
    end at the moment of the request that asks. Live features are counts and sums of row columns; they see an entity's
    last `most` events.
    """

    name: str
    entities: tuple[str, ...]
    features: tuple[Feature, ...]
    every: timedelta
    ttl: timedelta
    most: int = 256

    @property
    def live(self) -> bool:
        return self.every == ZERO


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

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns of the model's input, in order: each view's features, then those of the request."""
        return tuple(f.name for view in self.views for f in view.features) + self.request_features


class Estimator(Protocol):
    """What scikit-learn calls a classifier."""

    def fit(self, X: Matrix, y: Floats, sample_weight: Floats | None = None) -> "Estimator": ...

    def predict_proba(self, X: Matrix) -> NDArray[Any]: ...


class Retriever(Protocol):
    """Stage one, fitted: from a catalogue of very many items to the candidates that stage two ranks."""

    def candidates(self, request: Mapping[str, Any], at: float) -> Columns:
        """The row columns of at most `Requirements.max_candidates` candidates, the likeliest first."""

    def columns(self, rows: Columns) -> Columns:
        """What stage one says of rows, whoever chose them: a float column for each of `Retrieval.columns`."""

    def add(self, items: Columns) -> None:
        """Items published since it was fitted (`Retrieval.items` and `at`) may be candidates from now on; twice is
        once. Called by one thread beside others that ask for candidates."""

    def dump(self) -> bytes:
        """All of it, for `Retrieval.load`; nothing that needs unpickling."""


@dataclass(frozen=True)
class Retrieval:
    """Stage one of two: fitted on the oldest `share` of the training rows, so that what it says of the newer ones, on
    which the model is trained, is no echo of their own labels. It is registered and swapped as one with the model.

    `fit` takes labelled rows (row columns, `at`, the target), the catalogue (`items.id`, `at`, `items.columns`) and a
    seed. `anybody` is the body of a request by someone of whom nothing is known: its candidates stand in when stage one
    does not answer.
    """

    items: Source
    columns: tuple[str, ...]  # the row columns that stage one fills in
    share: float
    fit: Callable[[Columns, Columns, int], Retriever]
    load: Callable[[bytes], Retriever]
    anybody: Mapping[str, Any]
    metrics: "Callable[[Retriever, Columns], Mapping[str, float]]"  # of the retriever, on newer labelled rows


@dataclass(frozen=True)
class Model:
    """Step 4: the estimator (built from a seed), and why this one and not the next simpler one."""

    name: str
    why: str
    build: Callable[[int], Estimator]
    retrieval: Retrieval | None = None  # where an estimator cannot look at every item there is


@dataclass(frozen=True)
class Gate:
    """What a candidate must show before it may serve. Margins are in log loss per row, lower is better."""

    min_rows: int
    margin: float  # the upper end of the interval of (candidate − champion) must lie below this
    slice_margin: float  # the same on every slice of at least `min_slice_rows`: the lower end must not lie above this
    min_slice_rows: int
    confidence: float = 0.95
    resamples: int = 500


# A metric of a system's own: labels, scores, the rows (row columns and `at`) and their weights.
Metric = Callable[[Floats, Floats, Columns, Floats], float]


@dataclass(frozen=True)
class Training:
    """Step 5: how rows are split and weighed, what the model is held against, and the gate.

    `rules` label events that came in without a label (NaN), by features and row columns, so that there is a first
    model before there are labels.
    """

    holdout: float  # the last share of the rows by time
    window: timedelta  # how far back training looks
    half_life: timedelta  # a row this old weighs half, so that a changed world is learned from its newest rows
    max_rows: int
    baselines: Mapping[str, Callable[[int], Estimator]]
    slices: tuple[str, ...]  # row columns or request features whose values cut the hold-out into slices
    gate: Gate
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    rules: Callable[[Columns], Floats] | None = None
    with_history: bool = False  # the log is learned from beside the history, for its labels alone are too few


@dataclass(frozen=True)
class Evidence:
    """What a decision rests on. Columns are as long as the rows are many."""

    rows: Columns  # the row columns and `at`
    features: Columns  # by name, as the model was given them; declared defaults where they could not be read
    scores: Floats
    contributions: Columns | None = (
        None  # by feature: its part of the score, in log-odds; None where none was asked for
    )


@dataclass(frozen=True)
class Decision:
    """What the client is answered, and which rows it was shown, in order: those of which an outcome shall tell."""

    result: BaseModel
    shown: NDArray[np.int64]  # positions in the rows
    propensity: Floats  # for each shown row, how probable it was that it is (in its place): that its label gets known
    kept: NDArray[np.int64] | None = None  # the rows worth a place in the log, the shown ones among them; None: all
    review: bool = False  # a person is asked: what is shown gets its label from them, or none


@dataclass(frozen=True)
class Serving:
    """Step 6: request → rows; scores → response (re-rank); and scores for when no model answers.

    `rows` is None where stage one finds the candidates (`Model.retrieval`). `fallback` takes the request, the rows and
    the features by name, and is pure as `rows` is. `respond` takes a generator seeded from the prediction's id, for
    exploration. With `explained` the decision is given what each feature contributed.
    """

    rows: Callable[[Any], Columns] | None
    respond: Callable[[Any, Evidence, np.random.Generator], Decision]
    fallback: Callable[[Any, Columns, Columns], Floats]
    explained: bool = False


@dataclass(frozen=True)
class Monitoring:
    """Step 7: the windows that are judged, what counts as a fall in quality, and how often it may be acted on."""

    window: timedelta
    min_rows: int
    quality_margin: float  # harm: log loss per row, more than this above what the hold-out's quality would lose
    confidence: float
    drift_share: float  # the share of columns from which on Evidently's report calls the data drifted; decides nothing
    cooldown: timedelta  # from the end of a retraining to the next that starts by itself
    daily_budget: int = 4  # retrainings that start by themselves within any 24 hours
    concept_margin: float = 0.2  # concept drift: the share by which scores' log-odds may lie too far apart, beyond
    # what the hold-out's labels leave open
    run_length: int = 100_000  # labelled predictions between two false alarms of concept drift, on average at least


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
