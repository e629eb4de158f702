"""The champion of every system, kept up to date: between the registry, which names it, and the requests for scores.

A thread asks the registry every second. A new champion is fetched, verified and warmed up beside the old one, then
takes its place in one assignment, so that the scores of a request and the version it names always belong together.
What cannot be used is refused, and the old one goes on.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np

from contracts.errors import CorruptModel, FlywheelError, InvalidInput, NotFound, Unavailable
from contracts.ports import Clock, ModelSource
from contracts.records import Candidates, ModelVersion, Scored
from contracts.system import Matrix
from infra.model_bundle import unpack
from infra.model_cache import ModelCache
from services.serving.metrics import ServingMetrics
from services.serving.onnx_model import OnnxModel, open_model
from services.serving.stage_one import StageOne, StageOnes

CHAMPION = "champion"
POLL_SECONDS = 1.0
CATALOGUE_SECONDS = 2.0  # between two looks at what was published
KEPT_SECONDS = 10.0  # for which the version before a swap still ranks what its own stage one found
RETRY_SECONDS = 30.0  # a refused model is fetched again after this: its bytes may have been cut short on the way
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A version and what was made of its bytes, ranker and stage one: replaced together, never exchanged."""

    version: ModelVersion
    model: OnnxModel
    since: datetime
    stage_one: StageOne | None = None


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
    before: LoadedModel | None = None  # what served before `loaded` …
    before_until: float = 0.0  # … and may be asked for by its version until then, on the monotonic clock

    def named(self, version: str) -> LoadedModel | None:
        """The version, if it serves or did until a moment ago."""
        held = (self.loaded, self.before if time.monotonic() < self.before_until else None)
        return next((each for each in held if each and each.version.version == version), None)


class Champions:
    """Serves the champion of each system in `names()`; `poll` is called by one thread only."""

    def __init__(
        self,
        source: ModelSource,
        cache: ModelCache,
        clock: Clock,
        metrics: ServingMetrics,
        names: Callable[[], Sequence[str]],
        stage_ones: StageOnes,
    ) -> None:
        self._source = source
        self._cache = cache
        self._clock = clock
        self._metrics = metrics
        self._names = names
        self._stage_ones = stage_ones
        self._standings: dict[str, Standing] = {}
        self._stopping = threading.Event()

    def score(self, system: str, features: Matrix, version: str | None = None, explain: bool = False) -> Scored:
        """Scores of the champion, or of the version named if it still serves: `NotFound` when there is no champion,
        `Unavailable` when the version does not serve any more, `InvalidInput` when it takes other features, or when
        scores are to be explained and cannot be."""
        loaded = self._loaded(system, version)
        if features.shape[1] != (columns := loaded.model.columns):
            known = loaded.version.version
            raise InvalidInput(f"{system} version {known} takes {columns} features a row, not {features.shape[1]}.")
        scores = loaded.model.scores(features)
        if not np.isfinite(scores).all():
            raise Unavailable(f"{system} version {loaded.version.version} gave a score that is not a number.")
        self._metrics.rows.labels(system).inc(len(scores))
        contributions = loaded.model.contributions(features) if explain else None
        return Scored(scores, loaded.version.version, contributions)

    def is_quick(self, system: str, rows: int, explain: bool = False) -> bool:
        """Whether the champion scores so many rows in no time to speak of; who has none is told so quickly."""
        standing = self._standings.get(system)
        return standing is None or standing.loaded is None or standing.loaded.model.is_quick(rows, explain)

    def retrieve(self, system: str, request: Mapping[str, Any], at: float) -> Candidates:
        """What the champion's stage one finds for a request made at `at`, seconds since the epoch: `NotFound` when
        there is no champion, `Unavailable` when it has no stage one. Any thread may ask."""
        loaded = self._loaded(system)
        if loaded.stage_one is None:
            raise Unavailable(f"{system} version {loaded.version.version} has no stage one; train it again.")
        rows = loaded.stage_one.candidates(request, at)
        self._metrics.candidates.labels(system).inc(len(next(iter(rows.values()), ())))
        return Candidates(rows, loaded.version.version)

    def _loaded(self, system: str, version: str | None = None) -> LoadedModel:
        standing = self._standings.get(system)
        if standing is None:
            raise NotFound(f"No system named {system!r}. Known: {', '.join(sorted(self._standings)) or 'none'}.")
        if standing.loaded is None:
            raise NotFound(f"There is no champion of {system} yet; `flywheel train {system}` makes one.")
        if version is None:
            return standing.loaded
        if (named := standing.named(version)) is None:
            raise Unavailable(f"Version {version[:20]} of {system} does not serve any more.")
        return named

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
        """Ask for one system after the other, for each once in `POLL_SECONDS`, until `stop`; the body of the thread.

        Spread out: an answer of the registry takes milliseconds in which scores wait for the interpreter, and those of
        all systems at once would take the sum of them from the same request.
        """
        turn = 0
        while not self._stopping.wait(POLL_SECONDS / max(1, len(names := self._names()))):
            if names:
                self.follow(names[turn % len(names)])
                turn += 1

    def run_catalogue(self) -> None:
        """Tell the stage ones what is published, until `stop`; the body of another thread."""
        while not self._stopping.wait(CATALOGUE_SECONDS):
            self.tell()

    def tell(self) -> None:
        """Bring the stage ones that serve up to date."""
        for standing in self.standings():
            if standing.loaded and standing.loaded.stage_one:
                self._stage_ones.tell(standing.loaded.stage_one)

    def stop(self) -> None:
        self._stopping.set()

    def poll(self) -> None:
        """Ask the registry for every system's champion and follow it; what fails is in the standing and counted."""
        for system in self._names():
            self.follow(system)

    def follow(self, system: str) -> None:
        """Ask the registry for one system's champion and follow it."""
        standing = _without_old(self._standings.get(system) or Standing(system))
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
        return Standing(
            champion.system,
            loaded,
            source="registry",
            polled=standing.polled,
            before=standing.loaded,
            before_until=time.monotonic() + KEPT_SECONDS,
        )

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
        bundle, now = unpack(model), self._clock.now()
        ranker = open_model(bundle.ranker, len(version.feature_names))
        stage_one = None if bundle.retriever is None else self._stage_ones.open(version, bundle.retriever, now)
        return LoadedModel(version, ranker, now, stage_one)

    def _record(self, standing: Standing) -> None:
        self._standings[standing.system] = standing  # the swap: one assignment, which readers see whole
        version = standing.loaded.version.version if standing.loaded else None
        self._metrics.show(standing.system, version, standing.source)


def _same(one: ModelVersion, other: ModelVersion) -> bool:
    return (one.version, one.sha256) == (other.version, other.sha256)


def _without_old(standing: Standing) -> Standing:
    """The version before is let go once nobody can be waiting for it: an index takes tens of megabytes."""
    return standing if time.monotonic() < standing.before_until else replace(standing, before=None)


def _missing(standing: Standing) -> str | None:
    if standing.loaded is None:
        return None
    return f"The registry names no champion of {standing.system} any more; the last one goes on."
