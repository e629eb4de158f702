"""Approximate nearest neighbours by inner product: Faiss' inverted lists, and the exact search they are held against.

The vectors are put into lists by k-means, and a search looks into the lists whose centres are nearest (Jégou et al.
2011, Product Quantization for Nearest Neighbor Search, section IV, without the quantisation). A graph (HNSW) was tried
first and found fewer; see README.

Faiss is imported when an index is first made or opened: the gateway loads systems too and needs none of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import CorruptModel
from systems.video_recommendation.factors import Ints, Vectors

LISTS = 256
FEW = 10_000  # vectors that are looked through one by one before they are worth lists
LOOKED_INTO = 0.35  # the share of the lists that a search looks into
ROUNDS = 15  # of k-means


@dataclass(frozen=True)
class Neighbours:
    """An index over vectors, by their numbers. It is never changed, so that threads may search it together."""

    index: Any

    @property
    def shape(self) -> tuple[int, int]:
        """Vectors × dimensions."""
        return int(self.index.ntotal), int(self.index.d)

    def search(self, user: Vectors, count: int) -> Ints:
        """Numbers of the vectors with the greatest inner product, the greatest first; a few may be missed."""
        _, found = self.index.search(np.ascontiguousarray(user[None], dtype=np.float32), min(count, self.shape[0]))
        near: Ints = found[0].astype(np.int64)
        return near[near >= 0]

    def dump(self) -> NDArray[np.uint8]:
        serialised: NDArray[np.uint8] = _faiss().serialize_index(self.index)
        return serialised


def build(vectors: Vectors, seed: int) -> Neighbours:
    """In one thread, so that the same vectors and seed give the same index."""
    faiss = _faiss()
    lists = LISTS if len(vectors) >= FEW else 1
    centres = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(centres, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.seed, index.cp.min_points_per_centroid = ROUNDS, seed % 2**31, 1
    index.train(vectors)
    index.add(vectors)
    return _opened(index)


def load(serialised: NDArray[np.uint8]) -> Neighbours:
    """CorruptModel when the bytes are no such index."""
    faiss = _faiss()
    try:
        index = faiss.deserialize_index(np.ascontiguousarray(serialised, dtype=np.uint8))
    except RuntimeError as error:
        raise CorruptModel("Stage one's index cannot be read; register the model again.") from error
    if not isinstance(index, faiss.IndexIVFFlat):
        raise CorruptModel(f"Stage one's index is a {type(index).__name__}; it must be an IndexIVFFlat.")
    return _opened(index)


def exact(vectors: Vectors, user: Vectors, count: int) -> Ints:
    """What `search` would find if it missed nothing."""
    return best(vectors @ user, count)


def best(scores: NDArray[Any], count: int) -> Ints:
    """Positions of the greatest scores, the greatest first."""
    count = min(count, len(scores))
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    top = np.argpartition(-scores, count - 1)[:count]
    return top[np.argsort(-scores[top], kind="stable")]


def _opened(index: Any) -> Neighbours:
    index.nprobe = max(1, round(LOOKED_INTO * index.nlist))
    return Neighbours(index)


def _faiss() -> Any:
    import faiss  # 20 MB and OpenMP's threads, which only training and serving need

    faiss.omp_set_num_threads(1)  # of the calling thread: serving has a process a core already
    return faiss
