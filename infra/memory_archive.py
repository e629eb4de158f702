"""The archive in memory: the twin of the Parquet archive, written for clarity so that it can stand as its oracle."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from contracts.records import OutcomeRecord, PredictionRecord
from contracts.system import AT, System
from infra.archive_query import OUTCOME, empty_frame

Identity = tuple[str, str | None, float, datetime]


class MemoryArchive:
    """Records by what makes them the same one."""

    def __init__(self) -> None:
        self._predictions: dict[str, PredictionRecord] = {}
        self._outcomes: dict[Identity, OutcomeRecord] = {}

    def append(self, records: Sequence[PredictionRecord | OutcomeRecord]) -> None:
        for record in records:
            if isinstance(record, PredictionRecord):
                self._predictions[record.prediction_id] = record
                continue
            identity = (record.prediction_id, record.item, record.label, record.occurred_at)
            known = self._outcomes.setdefault(identity, record)
            if record.received_at < known.received_at:
                self._outcomes[identity] = record

    def predictions(self, system: System, since: datetime, until: datetime) -> pd.DataFrame:
        rows = [row for record in self._predictions.values() for row in _rows(system, record)]
        rows = [row for row in rows if since.timestamp() <= row[AT] < until.timestamp()]
        if not rows:
            return empty_frame(system)
        frame = pd.DataFrame(rows).sort_values([AT, "prediction_id", "position"], ignore_index=True)
        known = {name for record in self._predictions.values() for name in record.feature_names}
        others = [name for name in frame.columns if name not in known]
        return frame.reindex(columns=[*others, *system.features.names])

    def labelled(self, system: System, since: datetime, until: datetime, now: datetime) -> pd.DataFrame:
        served = self.predictions(system, since, until)
        delay = system.requirements.label_delay.total_seconds()
        shown = served[(served["place"] >= 0) & (served[AT] + delay <= now.timestamp())].reset_index(drop=True)
        labels = [self._label(row.prediction_id, row.item, row.at, delay) for row in shown.itertuples()]
        return shown.assign(**{system.task.target: pd.Series(labels, dtype="float64")})

    def outcomes(self, system: System, since: datetime, until: datetime) -> pd.DataFrame:
        found = [o for o in self._outcomes.values() if o.system == system.name and since <= o.occurred_at < until]
        rows = [(o.prediction_id, o.item, o.label, o.occurred_at.timestamp(), o.received_at.timestamp()) for o in found]
        return pd.DataFrame(sorted(rows, key=str), columns=list(OUTCOME)).astype(OUTCOME)

    def prediction(self, prediction_id: str, system: str | None = None) -> PredictionRecord | None:
        found = self._predictions.get(prediction_id)
        return found if found and system in (None, found.system) else None

    def _label(self, prediction_id: Any, item: Any, at: Any, delay: float) -> float:
        counted = [
            outcome
            for outcome in self._outcomes.values()
            if (outcome.prediction_id, outcome.item) == (prediction_id, item)
            and at <= outcome.occurred_at.timestamp() <= at + delay
        ]
        return max(counted, key=lambda o: (o.occurred_at, o.received_at, o.label)).label if counted else 0.0


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
            "degraded": "; ".join(record.degraded),
            **{name: value for name, value in values.items() if name != AT},
            **dict(zip(record.feature_names, record.features[position], strict=True)),
        }
