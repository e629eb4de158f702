"""Offline metrics of rankings, one value a page or user: what training, quality.py and movielens.py report."""

import numpy as np
from numpy.typing import NDArray

from contracts.system import Floats

Ints = NDArray[np.int64]


def ndcgs(gains: Floats, scores: Floats, page: Ints, k: int) -> Floats:
    """nDCG@k of each page that has any gain (Järvelin and Kekäläinen 2002, section 2.2): gains over the logarithm of
    place + 1, divided by the same of the best order there is."""
    best = _discounted(gains, gains, page, k)
    return (_discounted(gains, scores, page, k)[best > 0]) / best[best > 0]


def average_precisions(relevant: Floats, scores: Floats, page: Ints) -> Floats:
    """Average precision of each page that has anything relevant: the mean, over what is relevant, of the precision down
    to its place."""
    order, place = ranked(scores, page)
    hit, at = relevant[order] > 0, page[order]
    before: Ints = np.cumsum(hit) - hit  # hits before this row, on all pages up to it
    first = np.where(place == 0, before, 0)
    hits: Ints = before + hit - np.maximum.accumulate(first)
    total = np.bincount(at, hit * hits / (place + 1.0))
    count = np.bincount(at, hit)
    return total[count > 0] / count[count > 0]


def _discounted(gains: Floats, scores: Floats, page: Ints, k: int) -> Floats:
    order, place = ranked(scores, page)
    worth = np.where(place < k, gains[order] / np.log2(place + 2.0), 0.0)
    return np.asarray(np.bincount(page[order], worth), dtype=np.float64)


def ranked(scores: Floats, page: Ints) -> tuple[Ints, Ints]:
    """Rows page by page, the greatest score first, and the place of each on its page, from 0."""
    order = np.lexsort((-scores, page))
    starts = np.append(True, page[order][1:] != page[order][:-1]) if len(order) else np.zeros(0, dtype=np.bool_)
    number = np.arange(len(order))
    return order, number - np.maximum.accumulate(np.where(starts, number, 0))
