"""Stage one as bytes: NumPy's archive of plain arrays, the index among them. Nothing in it is ever unpickled."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from contracts.errors import CorruptModel
from systems.video_recommendation import neighbours, shelf
from systems.video_recommendation.attributes import AttributeMap
from systems.video_recommendation.factors import Factors, Ints
from systems.video_recommendation.neighbours import Neighbours
from systems.video_recommendation.shelf import Shelf

MAPPING = ("categories", "coefficients", "creators", "offsets")


@dataclass(frozen=True)
class Parts:
    """What a retriever is made of."""

    shelf: Shelf
    factors: Factors
    mapping: AttributeMap
    index: Neighbours
    popular: Ints


def dump(parts: Parts) -> bytes:
    """The same parts give the same bytes."""
    file = io.BytesIO()
    np.savez(
        file,
        allow_pickle=False,
        taste=parts.factors.taste,
        watched=parts.factors.watched,
        index=parts.index.dump(),
        popular=parts.popular,
        **parts.shelf.arrays(),
        **parts.mapping.arrays(),
    )
    return file.getvalue()


def load(content: bytes) -> Parts:
    """CorruptModel, with what is wrong, when the bytes are no such archive or its parts do not fit together."""
    arrays = _arrays(content)
    parts = Parts(
        shelf=shelf.load(arrays),
        factors=Factors(arrays["taste"], arrays["watched"]),
        mapping=AttributeMap(**{name: arrays[name] for name in MAPPING}),
        index=neighbours.load(arrays["index"]),
        popular=arrays["popular"],
    )
    if fault := _fault(parts):
        raise CorruptModel(f"Stage one does not hold together: {fault}; register the model again.")
    return parts


def _arrays(content: bytes) -> Mapping[str, NDArray[Any]]:
    wanted = (*shelf.NAMES, *MAPPING, "taste", "watched", "index", "popular")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in wanted}
    except (BadZipFile, EOFError, KeyError, OSError, ValueError) as error:
        raise CorruptModel(f"Stage one cannot be read ({error}); register the model again.") from error


def _fault(parts: Parts) -> str:
    """What does not fit, in words; empty when all does."""
    videos, rank = len(parts.shelf), parts.mapping.coefficients.shape[-1]
    shapes = {
        "the vectors": (parts.factors.taste.shape, (videos, rank)),
        "the counts": (parts.factors.watched.shape, (videos,)),
        "the categories' coefficients": (parts.mapping.coefficients.shape, (3 + len(parts.mapping.categories), rank)),
        "the creators' offsets": (parts.mapping.offsets.shape, (len(parts.mapping.creators), rank)),
        "the index": (parts.index.shape[1:], (rank + 1,)),  # the last is the pull of popularity
    }
    for name, (found, right) in shapes.items():
        if found != right:
            return f"{name} have the shape {found}, which should be {right}"
    if parts.index.shape[0] > videos or not _positions(parts.popular, videos):
        return f"it points at more videos than the {videos} there are"
    return "" if np.isfinite(parts.factors.taste).all() else "a vector is not finite"


def _positions(places: Ints, videos: int) -> bool:
    return places.ndim == 1 and places.dtype == np.int64 and bool(((places >= 0) & (places < videos)).all())
