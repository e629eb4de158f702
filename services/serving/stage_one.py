"""Stage one of a champion: opened beside its ranker, asked for candidates, and told of what is published meanwhile.

A video that is published now must be found within a minute, and a training takes longer than that: a thread asks the
catalogue every few seconds and adds what is new to the retriever that serves. One that is newly loaded is told first of
all that the catalogue still holds, for nobody knows how far the archive was behind when it was trained.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from contracts.errors import BrokenSystem, CorruptModel, FlywheelError
from contracts.ports import Catalogue
from contracts.records import ItemRecord, ModelVersion
from contracts.system import AT, Columns, Requirements, Retrieval, Retriever, Source, System
from services.serving.metrics import ServingMetrics

EPOCH = datetime.fromtimestamp(0, UTC)
OVERLAP = timedelta(minutes=10)  # asked for again each time: items come in almost, and not quite, in the order of time
KINDS = {"string": np.dtype(object), "float": np.dtype(np.float64), "integer": np.dtype(np.int64)}
logger = logging.getLogger(__name__)


@dataclass
class StageOne:
    """A fitted retriever that serves, and what it was told of since it was loaded. One thread tells it."""

    system: str
    retriever: Retriever
    items: Source
    told: dict[str, datetime] = field(default_factory=dict)  # items, with when the record of each was received
    heard: datetime | None = None  # when the newest item came in of which the catalogue told
    error: str | None = None  # why it is not up to date

    def candidates(self, request: Mapping[str, Any], at: float) -> Columns:
        """The likeliest candidates for a request made at `at`, seconds since the epoch."""
        return self.retriever.candidates(request, at)


class StageOnes:
    """Opens the stage ones of versions, and keeps them up to date; the first that is opened needs the catalogue."""

    def __init__(
        self, load: Callable[[str], System], catalogue: Callable[[], Catalogue], metrics: ServingMetrics
    ) -> None:
        self._load, self._catalogue, self._metrics = load, catalogue, metrics

    def open(self, version: ModelVersion, content: bytes, now: datetime) -> StageOne:
        """The stage one in `content`, up to date; `CorruptModel` says what is wrong with it."""
        system = self._system(version)
        if (retrieval := system.model.retrieval) is None:
            raise CorruptModel(f"The version has a stage one, and {version.system} has none: train it again.")
        try:
            retriever = retrieval.load(content)
            found = retriever.candidates(retrieval.anybody, now.timestamp())
        except Exception as error:  # a system's own code, on bytes that may be of an older one
            raise CorruptModel(f"Its stage one cannot be opened: {type(error).__name__}: {error}.") from error
        _check(found, system.requirements, retrieval)
        opened = StageOne(version.system, retriever, retrieval.items)
        self.tell(opened)
        return opened

    def tell(self, stage_one: StageOne) -> None:
        """Add what the catalogue has gained. While it cannot be reached the stage one goes on with what it has."""
        since = EPOCH if stage_one.heard is None else stage_one.heard - OVERLAP
        try:
            records = self._catalogue().since(stage_one.system, since)
        except Exception as error:  # the thread must outlive whatever the catalogue does
            known = isinstance(error, FlywheelError)
            stage_one.error = str(error) if known else f"The catalogue failed: {type(error).__name__}: {error}."
            self._metrics.catalogue_up.set(0)
            return
        self._metrics.catalogue_up.set(1)
        stage_one.error = None
        new = [record for record in records if stage_one.told.get(record.item) != record.received_at]
        if new:
            self._add(stage_one, new)
        heard = (record.received_at for record in records)
        stage_one.heard = max(heard, default=stage_one.heard)

    def _add(self, stage_one: StageOne, records: Sequence[ItemRecord]) -> None:
        """All at once, or, where one of them cannot be added, each by itself."""
        try:
            stage_one.retriever.add(columns(stage_one.items, records))
        except Exception:  # a system's own code on a client's values
            if len(records) > 1:
                for record in records:
                    self._add(stage_one, [record])
                return
            logger.exception("%s could not be added to stage one of %s.", records[0].item, stage_one.system)
            stage_one.error = f"The item {records[0].item!r} could not be added; serving's log says why."
            self._metrics.items_refused.labels(stage_one.system).inc()
        else:
            self._metrics.items.labels(stage_one.system).inc(len(records))
        stage_one.told.update((record.item, record.received_at) for record in records)

    def _system(self, version: ModelVersion) -> System:
        try:
            return self._load(version.system)
        except BrokenSystem as error:
            raise CorruptModel(f"Its stage one cannot be opened: {error}") from error


def columns(items: Source, records: Sequence[ItemRecord]) -> Columns:
    """Items as a retriever takes them: `items.id`, `at` (published, seconds since the epoch) and `items.columns`."""
    made = {items.id: np.array([record.item for record in records], dtype=object)}
    made[AT] = np.array([record.published_at.timestamp() for record in records])
    for name, kind in items.columns.items():
        values = [record.columns.get(name, items.optional.get(name)) for record in records]
        made[name] = np.array(values, dtype=KINDS[kind])
    return made


def _check(found: Columns, requirements: Requirements, retrieval: Retrieval) -> None:
    """What stage one finds for somebody unknown is what it will be asked for whenever it fails."""
    count, most = len(next(iter(found.values()), ())), requirements.max_candidates
    if not 1 <= count <= most:
        raise CorruptModel(f"Its stage one finds {count} candidates for anybody; it should find 1 to {most}.")
    if missing := [name for name in retrieval.columns if name not in found]:
        raise CorruptModel(f"Its stage one's candidates lack {', '.join(missing)}.")
