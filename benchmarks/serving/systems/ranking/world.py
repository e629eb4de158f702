"""Users and items that are all equally popular, which is the least favourable to whatever keeps what it read."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.system import AT, Floats
from contracts.world import Drift, SimulatedOutcome

from .features import PRIOR
from .requirements import ITEMS, USERS

CALM, FRAME, CANDIDATES = Drift(), 100_000, 100


class World:
    """Everybody clicks everything equally often; how the model does is not what is measured."""

    def __init__(self, seed: int, drift: Drift = CALM) -> None:
        self.seed = seed

    def history(self, start: datetime, end: datetime, rows: int) -> Iterator[pd.DataFrame]:
        random = np.random.default_rng([self.seed, 1])
        at = np.sort(random.uniform(start.timestamp(), end.timestamp(), rows))
        for first in range(0, rows, FRAME):
            moments = at[first : first + FRAME]
            count = len(moments)
            yield pd.DataFrame(
                {
                    "event_id": [f"e{first + number}" for number in range(count)],
                    AT: moments,
                    "user_id": [f"u{one}" for one in random.integers(USERS, size=count)],
                    "item_id": [f"i{one}" for one in random.integers(ITEMS, size=count)],
                    "clicked": (random.random(count) < PRIOR).astype(np.float64),
                }
            )

    def requests(self, count: int, at: datetime, stream: int) -> Sequence[dict[str, Any]]:
        return asked(np.random.default_rng([self.seed, 2, stream]), count, CANDIDATES, (USERS, ITEMS))

    def outcomes(
        self, request: Mapping[str, Any], result: Mapping[str, Any], at: datetime, stream: int
    ) -> Sequence[SimulatedOutcome]:
        random = np.random.default_rng([self.seed, 3, stream])
        return [SimulatedOutcome(item, 1.0, at) for item in result["item_ids"] if random.random() < PRIOR]

    def truth(self, rows: Mapping[str, NDArray[Any]]) -> Floats:
        return np.full(len(rows[AT]), PRIOR)


def asked(random: np.random.Generator, count: int, candidates: int, known: tuple[int, int]) -> list[dict[str, Any]]:
    """Bodies of requests: a user and different items, drawn from so many users and items."""
    users, items = known
    return [
        {
            "user_id": f"u{random.integers(users)}",
            "item_ids": [f"i{item}" for item in random.choice(items, candidates, replace=False).tolist()],
        }
        for _ in range(count)
    ]


WORLD = World
