"""Numbers that look drawn and are functions of their keys: what the world must know again without keeping it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


def uniform(seed: int, salt: int, *keys: Any) -> Doubles:
    """In [0, 1), one for each element of the keys (integers, which broadcast together); the same keys give the same.

    The mixing function is SplitMix64's (Steele, Lea and Flood 2014, Fast Splittable Pseudorandom Number Generators).
    """
    state = _mixed(np.array([seed * 1_000_003 + salt], dtype=np.int64).astype(np.uint64))
    for key in keys:
        state = _mixed(state ^ np.asarray(key, dtype=np.int64).astype(np.uint64))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def weighted(quantiles: Doubles, weights: Doubles) -> Ints:
    """Positions in `weights`, each as often as its weight says, when the quantiles are even over [0, 1)."""
    reached = np.cumsum(weights)
    drawn: Ints = np.searchsorted(reached, quantiles * reached[-1], side="right")
    return np.minimum(drawn, len(weights) - 1)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed
