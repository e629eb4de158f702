"""What chance has a part in, drawn from the prediction's id alone: whoever audits an answer can draw it again."""

from typing import Any
from uuid import UUID

import numpy as np
from numpy.random.bit_generator import ISeedSequence


class IdSeed(ISeedSequence):
    """An id as a generator's seed. A random id needs no mixing, which is most of what `np.random.default_rng` takes."""

    def __init__(self, prediction_id: str) -> None:
        self._bytes = UUID(prediction_id).bytes

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """The id's bytes, then zeros."""
        return np.frombuffer(self._bytes.ljust(n_words * np.dtype(dtype).itemsize, b"\0"), dtype, n_words)


def generator(prediction_id: str) -> np.random.Generator:
    """The generator of a prediction's decision: PCG64, seeded with the id, a UUID in hexadecimal digits."""
    return np.random.Generator(np.random.PCG64(IdSeed(prediction_id)))  # type: ignore[arg-type]  # NumPy's stub: SeedSequence
