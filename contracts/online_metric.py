"""What a system's business counts online: figures of each version, measured from the log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OnlineMetric:
    """What the business counts, as a ratio of two sums over rows. `value` takes rows as columns and gives each row's
    part of the numerator and of the denominator; what a row weighs is the platform's affair.

    Over `outcomes`: rows whose labels have matured, with the columns of `Archive.labelled` and `reported` (whether a
    client told anything of the row in time). Over `answers`: all rows logged, shown or not, with the columns of
    `Archive.predictions`; they need not mature.
    """

    name: str
    unit: str
    value: Callable[[Mapping[str, NDArray[Any]]], tuple[Floats, Floats]]
    better: Literal["higher", "lower"]
    over: Literal["outcomes", "answers"] = "outcomes"
