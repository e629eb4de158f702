"""The stores and services at which the stages meet, as Protocols. infra/ holds an adapter for each, and a memory twin.

Every call of a port is bounded in time and raises `Unavailable` when what stands behind it is down or hangs.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from contracts.records import (
    Candidates,
    FeatureRead,
    ItemRecord,
    KeptAnswer,
    LogEntry,
    ModelVersion,
    OutcomeRecord,
    PredictionRecord,
    ReviewCase,
    RunState,
    Scored,
)
from contracts.system import Columns, Matrix, System

if TYPE_CHECKING:
    import pandas as pd  # 70 MB and a second, which a process that only serves would pay for nothing


class Clock(Protocol):
    """The platform's time, in UTC; a demo's clock may run fast."""

    def now(self) -> datetime: ...


class FeatureReader(Protocol):
    """Online features, for the gateway."""

    async def online(self, system: System, rows: Columns, now: datetime) -> FeatureRead:
        """Features of each row as of `now`; a value missing, or older than its view's ttl, takes its default."""

    async def observe(self, system: System, rows: Columns, event_id: str) -> None:
        """Each of the rows, which were answered, is an event of the system's live views from now on; twice is once."""


class FeatureStore(Protocol):
    """Offline features and materialisation, for the pipelines."""

    def write(self, system: System, view: str, states: "pd.DataFrame") -> None:
        """Append states of a view: its entity columns, `event_timestamp` (UTC), its features. Twice is once."""

    def historical(self, system: System, rows: "pd.DataFrame") -> "pd.DataFrame":
        """`rows` with a column for each of `Features.names`, each as of the row's `at` (seconds since the epoch). The
        features of live views, which are made of events and not of states, are columns of `rows` already."""

    def materialize(self, system: System, until: datetime) -> Mapping[str, int]:
        """Bring the online store up to `until`: entities written, by view. Interrupted, it starts where it stopped."""

    def forget(self, system: System, view: str) -> None:
        """Delete a view's states, offline and online, so that they can be computed anew."""


class Scorer(Protocol):
    """Model serving, for the gateway."""

    async def score(self, system: str, features: Matrix, version: str | None = None, explain: bool = False) -> Scored:
        """Scores of the champion; `Unavailable` when there is none. With a version, of that one, which stage one
        named just before. With `explain`, what each feature contributed to each row's score."""

    async def retrieve(self, system: str, request: Mapping[str, Any], now: datetime) -> Candidates:
        """Stage one of the champion; `Unavailable` when there is none."""


class Log(Protocol):
    """The log that the gateway appends to before it answers."""

    async def recall(self, system: str, key: str) -> KeptAnswer | None:
        """The answer kept under an idempotency key."""

    async def append(self, record: PredictionRecord, keep: KeptAnswer | None = None) -> KeptAnswer | None:
        """Append, and keep the answer with it, both or neither. Where the key has an answer already nothing is
        appended and that answer returned; else `keep` itself is."""

    async def append_outcome(self, outcome: OutcomeRecord) -> None:
        """A reviewer's outcome takes its prediction off the list of those that wait for one, in the same step."""

    async def append_item(self, item: ItemRecord) -> None:
        """Append, and make it known to `Catalogue`, both or neither."""

    async def reviews(self, system: str, most: int) -> Sequence[ReviewCase]:
        """Predictions that wait for a person's label, the newest first."""


class Catalogue(Protocol):
    """The items published of late, for serving; older ones are in the archive and in what was trained from it."""

    def since(self, system: str, moment: datetime) -> Sequence[ItemRecord]:
        """Items received at or after a moment, in the order of their coming; what is a month old may be gone."""


class LogConsumer(Protocol):
    """The log as the recorder drains it: at least once, in order, no entry lost before it is acknowledged."""

    def read(self, most: int, wait_seconds: float) -> Sequence[LogEntry]:
        """Entries that some consumer took and never acknowledged come first, then new ones."""

    def acknowledge(self, entry_ids: Sequence[str]) -> None: ...

    def reject(self, entry: LogEntry, reason: str) -> None:
        """Move a poison entry to the dead-letter stream and acknowledge it."""

    def lag(self) -> int:
        """Entries not yet acknowledged."""

    def dead_letters(self) -> int: ...


class Archive(Protocol):
    """The log at rest, by system and day; what is appended twice is read once."""

    def append(self, records: Sequence[PredictionRecord | OutcomeRecord | ItemRecord]) -> None: ...

    def predictions(
        self, system: System, since: datetime, until: datetime, only: Collection[str] | None = None
    ) -> "pd.DataFrame":
        """One row a candidate: prediction_id, position (in the rows), place (where it was shown, -1 if not), item,
        at, model_version, variant, score, propensity, review, degraded, then the row columns and the features; of
        these two, where `only` is given, what it names."""

    def labelled(
        self, system: System, since: datetime, until: datetime, now: datetime, only: Collection[str] | None = None
    ) -> "pd.DataFrame":
        """Rows of `predictions` whose label is known at `now`, with `reviewed` (bool) and the target's column. A
        reviewer's label is known at once, and whether or not the row was shown; else a shown row's is known when the
        label delay has passed: the latest outcome that occurred within it, 0.0 where there was none. Of a prediction
        that a person was asked about (`review`) nothing but their word is a label."""

    def items(self, system: System) -> "pd.DataFrame":
        """The catalogue: `Retrieval.items`' id, `at` (published) and columns; each item as it was last."""

    def outcomes(self, system: System, since: datetime, until: datetime) -> "pd.DataFrame":
        """Outcomes that occurred then: prediction_id, item, label, occurred_at, received_at, source, each once."""

    def prediction(self, prediction_id: str, system: str | None = None) -> PredictionRecord | None:
        """One prediction's record; without the system's name, all are searched."""


class ModelSource(Protocol):
    """What serving needs of the registry: which version a name points at, and its bytes."""

    def resolve(self, system: str, alias: str) -> ModelVersion | None: ...

    def versions(self, system: str) -> Sequence[ModelVersion]:
        """All versions of a system, oldest first."""

    def fetch(self, version: ModelVersion) -> bytes:
        """The model's bytes, checked against their SHA-256; else `CorruptModel`."""


class Registry(ModelSource, Protocol):
    """Registered models and the names that point at them."""

    def register(
        self, system: str, model: bytes, run_id: str, feature_names: Sequence[str], metrics: Mapping[str, float]
    ) -> ModelVersion: ...

    def point(self, system: str, alias: str, version: str) -> None:
        """Move an alias; pointing `champion` elsewhere remembers where it pointed."""

    def rollback(self, system: str) -> ModelVersion:
        """Point `champion` at the one before it; `NotFound` when there was none."""

    def annotate(self, system: str, version: str, tags: Mapping[str, str]) -> None: ...


class Dispatcher(Protocol):
    """Pipelines started by name, and events that may start them."""

    def run(self, deployment: str, parameters: Mapping[str, Any], key: str = "") -> str:
        """Start a deployment (`train`, `promote` …): the run's id. The same key again is the same run, ended or not."""

    def state(self, run_id: str) -> RunState: ...

    def follow(self, run_id: str) -> Iterator[str]:
        """What the run logs, line by line, until it has finished."""

    def runs(self, deployment: str, system: str, since: datetime) -> Sequence[RunState]: ...

    def emit(self, event: str, system: str, payload: Mapping[str, Any]) -> None: ...
