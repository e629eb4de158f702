"""Simulated clients with known truth, made from the columns that features.py names: change it when you know better."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.system import AT, Floats
from contracts.world import Drift, SimulatedOutcome
from systems._template.features import CHOICES, ENTITY, NUMBERS, SOURCE, TARGET
from systems._template.requirements import REQUIREMENTS

CALM, FRAME = Drift(), 100_000
NAMES = pd.Index([f"{ENTITY[0]}{number:04}" for number in range(REQUIREMENTS.users)], dtype=object)


class World:
    """Entities with a taste of their own, and attributes that each add their part to the log-odds of the label."""

    def __init__(self, seed: int, drift: Drift = CALM) -> None:
        self.seed, self.drift, random = seed, drift, np.random.default_rng([seed, 0])
        self.taste = np.append(random.normal(0, 0.5, len(NAMES)), 0.0)  # the last one: of whoever is unknown
        self.effect = {name: random.permutation(np.linspace(-1, 1, len(known))) for name, known in CHOICES.items()}
        self.weight = {name: random.permutation(1 / np.arange(1.0, len(known) + 1)) for name, known in CHOICES.items()}

    def history(self, start: datetime, end: datetime, rows: int) -> Iterator[pd.DataFrame]:
        random = np.random.default_rng([self.seed, 1, int(start.timestamp()), int(end.timestamp()), rows])
        at = np.sort(random.uniform(start.timestamp(), end.timestamp(), rows))
        for first in range(0, rows, FRAME):
            columns = self._drawn(random, at[first : first + FRAME])
            count = len(columns[AT])
            label = (random.random(count) < self.truth(columns)).astype(np.float64)
            ids = [f"h{int(start.timestamp())}-{first + number}" for number in range(count)]
            yield pd.DataFrame({SOURCE.id: ids, **columns, TARGET: label})

    def requests(self, count: int, at: datetime, stream: int) -> Sequence[dict[str, Any]]:
        random = np.random.default_rng([self.seed, 2, stream, int(at.timestamp() * 1000)])
        columns = self._drawn(random, np.full(count, at.timestamp()))
        return [{name: columns[name].tolist()[row] for name in columns if name != AT} for row in range(count)]

    def outcomes(
        self, request: Mapping[str, Any], result: Mapping[str, Any], at: datetime, stream: int
    ) -> Sequence[SimulatedOutcome]:
        key = [self.seed, 3, stream, int(at.timestamp() * 1000), crc32(repr(sorted(request.items())).encode())]
        whether, when = np.random.default_rng(key).random(2)
        row = {name: np.array([value]) for name, value in request.items()} | {AT: np.array([at.timestamp()])}
        happens, after = whether < self.truth(row)[0], REQUIREMENTS.label_delay * (0.01 + 0.9 * when)
        return [SimulatedOutcome(None, 1.0, at + after)] if happens else []

    def truth(self, rows: Mapping[str, NDArray[Any]]) -> Floats:
        """The probability of the label. As the concept drifts, what an attribute is good for turns round."""
        odds = np.zeros(len(rows[AT]))
        for name, known in CHOICES.items():
            odds += np.append(self.effect[name], 0.0)[pd.Index(known).get_indexer(pd.Index(rows[name]))]
        for name in NUMBERS:
            odds += 0.8 - (np.log1p(np.maximum(rows[name], 0.0)) - 1.6) ** 2  # neither few nor many are a good sign
        odds *= 1 - 2 * self._drifted("concept", rows[AT])
        probability: Floats = 1 / (1 + np.exp(1.4 - odds - self.taste[NAMES.get_indexer(pd.Index(rows[ENTITY]))]))
        return probability

    def _drawn(self, random: np.random.Generator, at: Floats) -> dict[str, NDArray[Any]]:
        """When, who, and the attributes. As the data drifts, what was rare becomes common and the numbers grow."""
        moved = random.random(len(at)) < self._drifted("data", at)
        who = (random.random(len(at)) ** 2 * len(NAMES)).astype(np.int64)  # some come often
        columns: dict[str, NDArray[Any]] = {AT: at, ENTITY: NAMES.to_numpy()[who]}
        for name, known in CHOICES.items():
            weights = (self.weight[name], 1 / self.weight[name])
            before, after = (random.choice(len(known), len(at), p=each / each.sum()) for each in weights)
            columns[name] = np.array(known, dtype=object)[np.where(moved, after, before)]
        return columns | {name: np.exp(random.normal(1.3, 0.8, len(at)) + moved).round(1) for name in NUMBERS}

    def _drifted(self, kind: str, at: Floats) -> Floats:
        """How strongly the world has drifted in its data or its concept."""
        if self.drift.at is None or self.drift.kind not in (kind, "both"):
            return np.zeros(len(at))
        return np.where(at >= self.drift.at.timestamp(), self.drift.strength, 0.0)


WORLD = World
