"""The champion of every system, kept up to date: between the registry, which names it, and the requests for scores.

A thread asks the registry every second. A new champion is fetched, verified and warmed up beside the old one, then
takes its place in one assignment, so that the scores of a request and the version it names always belong together.
What cannot be used is refused, and the old one goes on.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np

from contracts.errors import CorruptModel, FlywheelError, InvalidInput, NotFound, Unavailable
from contracts.ports import Clock, ModelSource
from contracts.records import ModelVersion, Scored
from contracts.system import Matrix
from infra.model_cache import ModelCache
from services.serving.metrics import ServingMetrics
from services.serving.onnx_model import OnnxModel, open_model

CHAMPION = "champion"
POLL_SECONDS = 1.0
RETRY_SECONDS = 30.0  # a refused model is fetched again after this: its bytes may have been cut short on the way
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A version and the model made of its bytes: replaced together, never changed."""

    version: ModelVersion
    model: OnnxModel
    since: datetime


@dataclass(frozen=True)
class Standing:
    """Where serving stands with one system."""

    system: str
    loaded: LoadedModel | None = None
    source: Literal["registry", "verified copy"] | None = None  # who said that it is the champion
    error: str | None = None
    polled: datetime | None = None  # when the registry last answered
    refused: str | None = None  # the SHA-256 of a champion that could not be used …
    retry_at: float = 0.0  # … until then, on the monotonic clock


class Champions:
    """Serves the champion of each system in `names()`; `poll` is called by one thread only."""

    def __init__(
        self,
        source: ModelSource,
        cache: ModelCache,
        clock: Clock,
        metrics: ServingMetrics,
        names: Callable[[], Sequence[str]],
    ) -> None:
        self._source = source
        self._cache = cache
        self._clock = clock
        self._metrics = metrics
        self._names = names
        self._standings: dict[str, Standing] = {}
        self._stopping = threading.Event()

    def score(self, system: str, features: Matrix) -> Scored:
        """Scores of the champion: `NotFound` when there is none, `InvalidInput` when it takes other features."""
        standing = self._standings.get(system)
        if standing is None:
            raise NotFound(f"No system named {system!r}. Known: {', '.join(sorted(self._standings)) or 'none'}.")
        if (loaded := standing.loaded) is None:
            raise NotFound(f"There is no champion of {system} yet; `flywheel train {system}` makes one.")
        if features.shape[1] != (columns := loaded.model.columns):
            version = loaded.version.version
            raise InvalidInput(f"{system} version {version} takes {columns} features a row, not {features.shape[1]}.")
        scores = loaded.model.scores(features)
        if not np.isfinite(scores).all():
            raise Unavailable(f"{system} version {loaded.version.version} gave a score that is not a number.")
        self._metrics.rows.labels(system).inc(len(scores))
        return Scored(scores, loaded.version.version)

    def standings(self) -> Sequence[Standing]:
        """Where serving stands with each system, by name."""
        return [self._standings[system] for system in sorted(self._standings)]

    def recover(self) -> None:
        """Serve each system's last verified copy, for as long as the registry has not been heard."""
        for system in self._names():
            self._record(Standing(system))
            if last := self._cache.last(system):
                self._record(self._recovered(last))

    def run(self) -> None:
        """Poll until `stop`; the body of the thread."""
        while not self._stopping.wait(POLL_SECONDS):
            self.poll()

    def stop(self) -> None:
        self._stopping.set()

    def poll(self) -> None:
        """Ask the registry for every system's champion and follow it; what fails is in the standing and counted."""
        for system in self._names():
            standing = self._standings.get(system) or Standing(system)
            try:
                followed = self._follow(standing)
            except Unavailable as error:
                followed = replace(standing, error=str(error))
                self._metrics.registry_up.set(0)
            except Exception as error:  # the thread must outlive whatever one system does to it
                logger.exception("The champion of %s could not be followed.", system)
                followed = replace(standing, error=f"{type(error).__name__}: {error}")
                self._metrics.refusals.labels(system).inc()
            self._record(followed)

    def _follow(self, standing: Standing) -> Standing:
        champion = self._source.resolve(standing.system, CHAMPION)
        self._metrics.registry_up.set(1)
        standing = replace(standing, polled=self._clock.now())
        if champion is None:
            return replace(standing, error=_missing(standing), refused=None)
        if standing.loaded and _same(standing.loaded.version, champion):
            return replace(standing, source="registry", error=None, refused=None)
        if standing.refused == champion.sha256 and time.monotonic() < standing.retry_at:
            return standing
        try:
            return self._swapped(standing, champion)
        except CorruptModel as error:
            logger.error("Version %s of %s is refused: %s", champion.version, champion.system, error)
            self._metrics.refusals.labels(champion.system).inc()
            refusal = f"Version {champion.version} is refused: {error}"
            return replace(standing, error=refusal, refused=champion.sha256, retry_at=time.monotonic() + RETRY_SECONDS)

    def _swapped(self, standing: Standing, champion: ModelVersion) -> Standing:
        model = self._bytes(champion)
        loaded = self._load(champion, model)
        self._cache.keep(champion, model)
        self._metrics.swaps.labels(champion.system).inc()
        logger.info("Version %s of %s serves.", champion.version, champion.system)
        return Standing(champion.system, loaded, source="registry", polled=standing.polled)

    def _bytes(self, version: ModelVersion) -> bytes:
        try:
            return self._cache.model(version)
        except (NotFound, CorruptModel):
            return self._source.fetch(version)

    def _recovered(self, last: ModelVersion) -> Standing:
        try:
            return Standing(last.system, self._load(last, self._cache.model(last)), source="verified copy")
        except FlywheelError as error:
            self._metrics.refusals.labels(last.system).inc()
            return Standing(last.system, error=f"The copy of version {last.version} is refused: {error}")

    def _load(self, version: ModelVersion, model: bytes) -> LoadedModel:
        return LoadedModel(version, open_model(model, len(version.feature_names)), self._clock.now())

    def _record(self, standing: Standing) -> None:
        self._standings[standing.system] = standing  # the swap: one assignment, which readers see whole
        version = standing.loaded.version.version if standing.loaded else None
        self._metrics.show(standing.system, version, standing.source)


def _same(one: ModelVersion, other: ModelVersion) -> bool:
    return (one.version, one.sha256) == (other.version, other.sha256)


def _missing(standing: Standing) -> str | None:
    if standing.loaded is None:
        return None
    return f"The registry names no champion of {standing.system} any more; the last one goes on."
