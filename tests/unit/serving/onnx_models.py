"""Small real models for the tests of serving, each as the pipelines register theirs."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

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
