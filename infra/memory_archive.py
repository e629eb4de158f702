"""The archive in memory: the twin of the Parquet archive, written for clarity so that it can stand as its oracle."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from contracts.errors import NotFound
from contracts.records import ItemRecord, OutcomeRecord, PredictionRecord
from contracts.system import AT, System
from infra import archive_items
from infra.archive_query import OUTCOME, REVIEWED, empty_frame, narrowed

Identity = tuple[str, str | None, float, datetime, str]


class MemoryArchive:
    """Records by what makes them the same one."""

    def __init__(self) -> None:
        self._predictions: dict[str, PredictionRecord] = {}
        self._outcomes: dict[Identity, OutcomeRecord] = {}
        self._items: dict[tuple[str, str], ItemRecord] = {}

    def append(self, records: Sequence[PredictionRecord | OutcomeRecord | ItemRecord]) -> None:
        for record in records:
            if isinstance(record, ItemRecord):
                known = self._items.setdefault((record.system, record.item), record)
                if (known.received_at, known.published_at) < (record.received_at, record.published_at):
                    self._items[record.system, record.item] = record
                continue
            if isinstance(record, PredictionRecord):
                self._predictions[record.prediction_id] = record
                continue
            identity = (record.prediction_id, record.item, record.label, record.occurred_at, record.source)
            first = self._outcomes.setdefault(identity, record)
            if record.received_at < first.received_at:
                self._outcomes[identity] = record

    def predictions(
        self, system: System, since: datetime, until: datetime, only: Collection[str] | None = None
    ) -> pd.DataFrame:
        rows = [row for record in self._predictions.values() for row in _rows(system, record)]
        rows = [row for row in rows if since.timestamp() <= row[AT] < until.timestamp()]
        if not rows:
            return empty_frame(system, only)
        frame = pd.DataFrame(rows).sort_values([AT, "prediction_id", "position"], ignore_index=True)
        known = {name for record in self._predictions.values() for name in record.feature_names}
        others = [name for name in frame.columns if name not in known]
        return narrowed(frame.reindex(columns=[*others, *system.features.names]), only)

    def labelled(
        self, system: System, since: datetime, until: datetime, now: datetime, only: Collection[str] | None = None
    ) -> pd.DataFrame:
        served = self.predictions(system, since, until, only)
        delay = system.requirements.label_delay.total_seconds()
        verdicts = [self._verdict(row.prediction_id, row.item, now) for row in served.itertuples()]
        reviewed = pd.Series([verdict is not None for verdict in verdicts], dtype="bool")
        labels = [
            verdict if verdict is not None else self._label(row.prediction_id, row.item, row.at, delay)
            for row, verdict in zip(served.itertuples(), verdicts, strict=True)
        ]
        judged = served.assign(**{REVIEWED: reviewed}).assign(
            **{system.task.target: pd.Series(labels, dtype="float64")}
        )
        matured = (served["place"] >= 0) & ~served["review"].astype(bool) & (served[AT] + delay <= now.timestamp())
        return judged[matured | reviewed].reset_index(drop=True)

    def items(self, system: System) -> pd.DataFrame:
        if (retrieval := system.model.retrieval) is None:
            raise NotFound(f"{system.name} has no catalogue of items, for its model has no stage one.")
        source = retrieval.items
        mine = [item for (name, _), item in self._items.items() if name == system.name]
        rows = [
            {source.id: item.item, AT: item.published_at.timestamp()}
            | {name: item.columns.get(name) for name in source.columns}
            for item in sorted(mine, key=lambda item: (item.published_at, item.item))
        ]
        return archive_items.completed(source, pd.DataFrame(rows)) if rows else archive_items.empty_frame(source)

    def outcomes(self, system: System, since: datetime, until: datetime) -> pd.DataFrame:
        found = [o for o in self._outcomes.values() if o.system == system.name and since <= o.occurred_at < until]
        rows = [
            (o.prediction_id, o.item, o.label, o.occurred_at.timestamp(), o.received_at.timestamp(), o.source)
            for o in found
        ]
        return pd.DataFrame(sorted(rows, key=str), columns=list(OUTCOME)).astype(OUTCOME)

    def prediction(self, prediction_id: str, system: str | None = None) -> PredictionRecord | None:
        found = self._predictions.get(prediction_id)
        return found if found and system in (None, found.system) else None

    def _verdict(self, prediction_id: Any, item: Any, now: datetime) -> float | None:
        given = [
            outcome
            for outcome in self._outcomes.values()
            if (outcome.prediction_id, outcome.item, outcome.source) == (prediction_id, item, "review")
            and outcome.received_at <= now
        ]
        return max(given, key=_last).label if given else None

    def _label(self, prediction_id: Any, item: Any, at: Any, delay: float) -> float:
        counted = [
            outcome
            for outcome in self._outcomes.values()
            if (outcome.prediction_id, outcome.item, outcome.source) == (prediction_id, item, "client")
            and at <= outcome.occurred_at.timestamp() <= at + delay
        ]
        return max(counted, key=_last).label if counted else 0.0


def _last(outcome: OutcomeRecord) -> tuple[datetime, datetime, float]:
    return outcome.occurred_at, outcome.received_at, outcome.label


def _rows(system: System, record: PredictionRecord) -> Iterator[dict[str, Any]]:
    if record.system != system.name:
        return
    places = {int(row): place for place, row in enumerate(record.shown)}
    for position in range(len(record.scores)):
        values = {name: column[position] for name, column in record.rows.items()}
        place = places.get(position, -1)
        yield {
            "prediction_id": record.prediction_id,
            "position": position,
            "place": place,
            "item": values.get(system.task.item) if system.task.item else None,
            AT: values.get(AT, record.at.timestamp()),
            "model_version": record.model_version,
            "variant": record.variant,
            "score": record.scores[position],
            "propensity": record.propensity[place] if place >= 0 else float("nan"),
            "review": record.review,
            "degraded": "; ".join(record.degraded),
            **{name: value for name, value in values.items() if name != AT},
            **dict(zip(record.feature_names, record.features[position], strict=True)),
        }
