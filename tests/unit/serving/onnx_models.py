"""Small real models for the tests of serving, each as the pipelines register theirs."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from contracts.ports import Catalogue
from infra.memory_log import MemoryCatalogue, MemoryLog
from infra.model_bundle import Bundle, pack
from services.serving.metrics import ServingMetrics
from services.serving.stage_one import StageOnes
from tests.two_stages import DAY, KIOSK, NOON, GenreRetriever, KioskWorld, catalogue, fit

NAMES = ("clicks_1h", "hour", "price")


@cache
def fitted(seed: int, columns: int = len(NAMES)) -> LogisticRegression:
    random = np.random.default_rng(seed)
    X = random.normal(size=(200, columns)).astype(np.float32)
    return LogisticRegression().fit(X, X @ random.normal(size=columns) + random.normal(size=200) > 0)


@cache
def onnx(seed: int, columns: int = len(NAMES), zipmap: bool = False) -> bytes:
    model = fitted(seed, columns)
    X = np.zeros((1, columns), dtype=np.float32)
    return bytes(to_onnx(model, X, options={"zipmap": zipmap}).SerializeToString())


def rows(count: int, columns: int = len(NAMES)) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(size=(count, columns)).astype(np.float32)


def truth(seed: int, features: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(fitted(seed, features.shape[1]).predict_proba(features)[:, 1], dtype=np.float64)


def retriever(seed: int = 0) -> GenreRetriever:
    """A stage one of `kiosk`, fitted on what was watched in the days before noon."""
    views = next(KioskWorld(seed).history(NOON - 10 * DAY, NOON, 2_000))
    return fit({name: views[name].to_numpy() for name in views}, catalogue(seed=seed), seed)


@cache
def bundle(seed: int) -> bytes:
    """A version of `kiosk`: its ranker and its stage one."""
    return pack(Bundle(onnx(seed, len(KIOSK.features.names)), retriever(seed).dump()))


def stage_ones(metrics: ServingMetrics, catalogue: Catalogue | None = None) -> StageOnes:
    """Opens the stage one of `kiosk`, over a catalogue in memory; of other systems none is ever asked for."""
    systems = {"kiosk": KIOSK}
    held = catalogue or MemoryCatalogue(MemoryLog())
    return StageOnes(systems.__getitem__, lambda: held, metrics)
