"""The recursion of the detector, for many values, betting rates and streams at once, in logarithms.

A bet at rate λ on the value x, which should have a mean of at most m, multiplies its stake by

    e = 1 + λ · share · (x / m − 1),        0 < λ < 1, 0 ≤ share ≤ 1

so e > 0, and its expectation given all that came before is at most 1 as long as that of share · (x − m) is at most 0:
the baseline increment of Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change
detection", New England Journal of Statistics in Data Science, 2024, arXiv:2203.03532, in the betting form of
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", Journal of the Royal Statistical
Society B, 2024, arXiv:2010.09686. Their e-CUSUM multiplies, and starts anew where it is worth less than a fresh stake:

    M_t = max(M_{t−1}, 1) · e_t

Why an alarm at M ≥ A comes once in A values or less often, on average: M never exceeds R_t = (R_{t−1} + 1) · e_t (their
Shiryaev-Roberts form), and R_t − t is a supermartingale, so E[M at T] ≤ E[R at T] ≤ E[T] for a stopping time T. At the
first alarm M ≥ A, hence E[T] ≥ A. A mean of such M over rates keeps the property, for the same reason.
"""

import math

import numpy as np
from numpy.typing import NDArray

from contracts.system import Floats


def log_gains(values: Floats, shares: Floats | float, bound: Floats | float, rates: Floats) -> Floats:
    """Logarithm of what each bet multiplies by: the shape of `values`, then one axis more, the rates."""
    excess = np.asarray(shares * (values / bound - 1.0))
    return np.log1p(excess[..., np.newaxis] * rates)


def log_paths(before: Floats, gains: Floats) -> Floats:
    """log M after each value: `gains` is values × … × rates, `before` (… × rates) is log M before the first of them.

    Unrolled: log M_t is the sum of gains up to t less the lowest such sum before t, where the sum before the first
    value counts as −max(log M_0, 0).
    """
    sums = np.cumsum(gains, axis=0)
    floor = np.concatenate([-np.maximum(before, 0.0)[np.newaxis], sums[:-1]])
    return sums - np.minimum.accumulate(floor, axis=0, out=floor)


def log_evidence(paths: Floats) -> Floats:
    """Logarithm of the mean of M over the rates, the last axis."""
    return np.asarray(np.logaddexp.reduce(paths, axis=-1) - math.log(paths.shape[-1]))


def crossed(paths: Floats, threshold: float) -> NDArray[np.bool_]:
    """Where the evidence reaches the threshold (a logarithm)."""
    reached = np.asarray(paths.max(axis=-1) >= threshold)  # a mean is never above its largest: most is settled here
    reached[reached] = log_evidence(paths[reached]) >= threshold
    return reached
