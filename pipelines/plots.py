"""The pictures of a training run: calibration, ROC, precision and recall, and what the model leans on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

from contracts.system import Floats, Matrix
from pipelines.metrics import log_losses
from pipelines.onnx_export import score

BINS = 15
POINTS = 500  # of a drawn curve; 60,000 of them would be megabytes that nobody can see
SAMPLE, REPEATS = 2_000, 3
SEED = 0


def draw(folder: Path, y: Floats, scores: Mapping[str, Floats], importance: Mapping[str, float]) -> None:
    """Write calibration.png, roc.png, precision_recall.png and importance.png into `folder`.

    `scores` are by model, the candidate first; a constant score (the base rate) makes a point or a diagonal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "calibration": _calibration(y, scores),
        "roc": _roc(y, scores),
        "precision_recall": _precision_recall(y, scores),
        "importance": _importance(importance),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")


def permutation_importance(model: bytes, X: Matrix, y: Floats, names: tuple[str, ...]) -> dict[str, float]:
    """How much the log loss rises when a feature is shuffled (Breiman 2001), on a sample; highest first."""
    generator = np.random.default_rng(SEED)
    rows = generator.choice(len(y), min(SAMPLE, len(y)), replace=False)
    X, y = X[rows], y[rows]
    base = float(log_losses(y, score(model, X)).mean())
    rises = {name: _rise(model, X, y, column, generator) - base for column, name in enumerate(names)}
    return dict(sorted(rises.items(), key=lambda item: -item[1]))


def _rise(model: bytes, X: Matrix, y: Floats, column: int, generator: np.random.Generator) -> float:
    shuffled = np.tile(X, (REPEATS, 1))
    shuffled[:, column] = np.concatenate([generator.permutation(X[:, column]) for _ in range(REPEATS)])
    return float(log_losses(np.tile(y, REPEATS), score(model, shuffled)).mean())


def _calibration(y: Floats, scores: Mapping[str, Floats]) -> Figure:
    figure, axes = _figure("Calibration: of what is scored so, how much is positive", "score", "share of positives")
    top = 0.0
    for name, each in scores.items():
        share, mean = calibration_curve(y, each, n_bins=BINS, strategy="quantile")
        axes.plot(mean, share, marker="o", markersize=3, label=name)
        top = max(top, float(mean.max()), float(share.max()))
    axes.plot([0, top], [0, top], color="grey", linestyle=":", label="perfect")
    axes.legend()
    return figure


def _roc(y: Floats, scores: Mapping[str, Floats]) -> Figure:
    figure, axes = _figure("ROC", "false positive rate", "true positive rate")
    for name, each in scores.items():
        false_positives, true_positives, _ = roc_curve(y, each)
        axes.plot(*_thinned(false_positives, true_positives), label=name)
    axes.legend()
    return figure


def _precision_recall(y: Floats, scores: Mapping[str, Floats]) -> Figure:
    figure, axes = _figure("Precision and recall", "recall", "precision")
    for name, each in scores.items():
        precision, recall, _ = precision_recall_curve(y, each)
        axes.plot(*_thinned(recall, precision), label=name)
    axes.legend()
    return figure


def _importance(importance: Mapping[str, float]) -> Figure:
    figure, axes = _figure("Rise of the log loss when a feature is shuffled", "log loss per row", "")
    names = list(importance)[::-1]
    axes.barh(names, [importance[name] for name in names])
    figure.set_size_inches(7, max(3.0, 0.25 * len(names)))
    return figure


def _figure(title: str, x: str, y: str) -> tuple[Figure, Any]:  # Any: matplotlib's types are not followed
    figure = Figure(figsize=(7, 5))  # not pyplot: that keeps every figure of the process alive
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    kept = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int))
    return x[kept], y[kept]
