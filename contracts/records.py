"""What the stores between the stages hold: the log's records, registered models, features as they were read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contracts.system import Columns, Floats, Matrix

Variant = Literal["champion", "fallback"]
FALLBACK_VERSION = "fallback"  # the model version of an answer that no model gave
FEATURES_UNAVAILABLE = "features: unavailable"  # in `degraded`: the record holds declared defaults, nothing was read


@dataclass(frozen=True)
class FeatureRead:
    """Features as served, rows × `Features.names`, and what had to be replaced by its default."""

    matrix: Matrix
    degraded: tuple[str, ...] = ()  # "VIEW: missing" or "VIEW: stale", each once, sorted


@dataclass(frozen=True)
class Scored:
    """A model's scores, one a row, and the version that gave all of them."""

    scores: Floats
    model_version: str
    contributions: Matrix | None = None  # rows × features, in log-odds; they add up to the score's distance from a
    # typical row's


@dataclass(frozen=True)
class Candidates:
    """What stage one found for a request: row columns, and the version whose ranker shall score them."""

    rows: Columns
    model_version: str


@dataclass(frozen=True)
class PredictionRecord:
    """All of one served prediction: what training, monitoring and an audit need, with nothing left to recompute."""

    prediction_id: str
    system: str
    at: datetime
    model_version: str
    variant: Variant
    request: Mapping[str, Any]
    rows: Columns  # the row columns, `at` among them
    feature_names: tuple[str, ...]
    features: Matrix
    scores: Floats
    shown: NDArray[np.int64]
    propensity: Floats
    result: Mapping[str, Any]
    degraded: tuple[str, ...] = ()
    review: bool = False  # a person shall say what the label is


@dataclass(frozen=True)
class OutcomeRecord:
    """What became of one item of a prediction (of the prediction itself where `item` is None).

    A reviewer's label is final at once; a client's holds once the label delay has passed, and not against a reviewer's.
    """

    prediction_id: str
    system: str
    item: str | None
    label: float
    occurred_at: datetime
    received_at: datetime
    source: Literal["client", "review"] = "client"


@dataclass(frozen=True)
class ItemRecord:
    """An item of a system's catalogue, as it was published or changed."""

    item: str
    system: str
    published_at: datetime
    columns: Mapping[str, Any]  # those of `Retrieval.items`
    received_at: datetime


@dataclass(frozen=True)
class ReviewCase:
    """A prediction that waits for a person's label."""

    prediction_id: str
    system: str
    at: datetime
    model_version: str
    request: Mapping[str, Any]
    result: Mapping[str, Any]


@dataclass(frozen=True)
class KeptAnswer:
    """The answer given under an idempotency key, kept so that the same request again is answered the same."""

    key: str
    body_digest: str
    answer: bytes


@dataclass(frozen=True)
class LogEntry:
    """One entry of the log as the recorder gets it: a record, or the reason why it is not one."""

    entry_id: str
    record: PredictionRecord | OutcomeRecord | ItemRecord | None
    fault: str | None = None


@dataclass(frozen=True)
class ModelVersion:
    """A registered model: ONNX bytes known by their SHA-256, and what was measured when it was trained."""

    system: str
    version: str
    sha256: str
    run_id: str
    feature_names: tuple[str, ...]
    created_at: datetime
    metrics: Mapping[str, float] = field(default_factory=dict)  # hold-out metrics, `log_loss` among them
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What monitoring found in one window of the log. None stands for inconclusive: too few rows to say."""

    system: str
    at: datetime
    since: datetime
    until: datetime
    model_version: str
    labelled_rows: int
    loss: float  # mean log loss a row; NaN without rows
    loss_low: float  # its one-sided lower bound
    reference_loss: float  # what a model as good as the champion was on its hold-out would lose here
    harmed: bool | None
    feature_rows: int
    drifted_columns: tuple[str, ...]  # the most shifted first
    drift_share: float
    drifted: bool | None
    drift_words: str = ""  # the reason, in a sentence
    effects: Mapping[str, float] = field(default_factory=dict)  # of each column: how far it shifted, in σ
    served_since: datetime | None = None  # where the window of served rows begins; `since` is the labelled rows'
    concept_drifted: bool | None = None  # by every label since this version began to serve
    concept_evidence: float = math.nan  # logarithm of an e-detector's; at the threshold it is an alarm
    concept_threshold: float = math.nan
    concept_labels: int = 0  # predictions with labels that it has seen
    concept_since: datetime | None = None  # since when the champion seems worse, once there is an alarm
    estimated_loss: float = math.nan  # of the served rows, before their labels are in; blind to concept drift
    estimated_low: float = math.nan
    estimated_high: float = math.nan
    decision: str = ""  # what was decided on it, and why

    @property
    def harm(self) -> bool | None:
        """Whether the champion does harm, by either test; None while neither says so and one cannot tell."""
        if self.harmed or self.concept_drifted:
            return True
        return None if self.harmed is None else False


@dataclass(frozen=True)
class RunState:
    """Where a dispatched pipeline run stands."""

    run_id: str
    name: str
    state: Literal["scheduled", "running", "completed", "failed", "cancelled"]
    message: str = ""
    started_at: datetime | None = None  # on the machine's clock, as its end
    ended_at: datetime | None = None

    @property
    def finished(self) -> bool:
        return self.state in ("completed", "failed", "cancelled")
