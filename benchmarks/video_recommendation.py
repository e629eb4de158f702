"""Are two stages better than one? `python -m benchmarks.video_recommendation` prints two tables in about a minute."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

import systems
from contracts.system import Columns, Estimator, FeatureView, Floats, Matrix, Retriever
from contracts.world import PublishingWorld
from pipelines.aggregate import STAMP, view_states
from pipelines.metrics import entropy
from systems.video_recommendation import quality, retrieval
from systems.video_recommendation.quality import Quality
from tests.conformance.sample import END, SEED, Sample, as_of, columns_of, log_loss

DAYS, ROWS, REQUESTS = 14, 300_000, 300


def main(seed: int = 7, rows: int = ROWS, requests: int = REQUESTS) -> None:
    """Fit both stages on a simulated fortnight, and hold their pages against the world's truth."""
    console, sample = Console(), _sample(seed, rows)
    started = time.monotonic()
    retriever, _ = cast(Retriever, sample.retriever), sample.estimator
    console.print(f"Both stages fitted in {time.monotonic() - started:.0f} s.")
    world = cast(PublishingWorld, sample.world)
    retriever.add(columns_of(world.items(END - timedelta(days=DAYS), END)))
    score, popularity = _scores(sample)
    policies = {
        "random": quality.at_random(world, END, seed),
        "popular": quality.popular(retriever, popularity),
        "stage one alone": quality.stage_one(retriever),
        "two stages": quality.two_stages(retriever, score),
        "two stages, as served": quality.served(retriever, score),
    }
    found = quality.measure(world, policies, world.requests(requests, END, 1), END)
    console.print(_table(found, seed, requests))
    console.print(_holdout(sample))
    for name, value in retrieval.metrics(retriever, columns_of(sample.rows)).items():
        console.print(f"{name}: {value:.3f}")
    console.print(
        f"candidates: {_milliseconds(retriever, world.requests(requests, END, 2)):.2f} ms of one core a request"
    )


def _sample(seed: int, rows: int) -> Sample:
    system = systems.load("video_recommendation")
    world, start = system.world(seed), END - timedelta(days=DAYS)
    return Sample(system, world, start, pd.concat(world.history(start, END, rows), ignore_index=True))


def _scores(sample: Sample) -> tuple[Callable[[Columns], Floats], Callable[[Columns], Floats]]:
    """The ranker's probabilities, and popularity, of rows at the end of the history."""
    features = sample.system.features
    states = {view.name: _last(view, view_states(view, sample.history, None, END)) for view in features.views}

    def named(rows: Columns) -> Mapping[str, Floats]:
        table = pd.DataFrame(dict(rows))
        found = {name: v for view in features.views for name, v in as_of(table, view, states[view.name]).items()}
        return {**found, **features.on_request(rows)}

    def score(rows: Columns) -> Floats:
        found = named(rows)
        X = np.column_stack([np.asarray(found[name], dtype=np.float32) for name in features.names])
        return _of(sample.estimator, X)

    return score, lambda rows: sample.system.serving.fallback(None, rows, named(rows))


def _last(view: FeatureView, states: pd.DataFrame) -> pd.DataFrame:
    """Each entity's state at the end: the online store's, as it were."""
    return states.sort_values(STAMP).drop_duplicates(list(view.entities), keep="last")


def _table(found: Mapping[str, Quality], seed: int, requests: int) -> Table:
    table = Table(title=f"Pages of 20 by the world's truth (seed {seed}, {requests} requests)")
    for name in ("", "nDCG@20", "watched", "minutes", "coverage", "diversity"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, one in found.items():
        cells = (one.ndcg_at_20, one.probability, one.watch_minutes, one.coverage, one.diversity)
        table.add_row(name, *(f"{cell:.{digits}f}" for cell, digits in zip(cells, (3, 3, 0, 3, 2), strict=True)))
    return table


def _holdout(sample: Sample) -> Table:
    """The model and its baselines on the newest rows of the history, and what the truth itself would score there."""
    system, cut, X, y = sample.system, sample.cut, sample.features, sample.labels
    rows, weights = columns_of(sample.rows.iloc[cut:]), np.ones(len(y) - cut)
    scores = {"oracle": sample.world.truth(rows), "model": _of(sample.estimator, X[cut:])}
    for name, build in system.training.baselines.items():
        scores[name] = _of(build(SEED).fit(X[:cut], y[:cut], sample.weights[:cut]), X[cut:])
    table = Table(title=f"On {len(y) - cut:,} later rows, trained on {cut:,}")
    for column in ("", "normalised cross-entropy", *system.training.metrics):
        table.add_column(column.replace("_", " "), justify="right" if column else "left", no_wrap=not column)
    for name, found in scores.items():
        own = (metric(y[cut:], found, rows, weights) for metric in system.training.metrics.values())
        figures = (log_loss(found, y[cut:]) / entropy(float(y[cut:].mean())), *own)
        table.add_row(name, *(f"{figure:.3f}" if figure < 10 else f"{figure:.0f}" for figure in figures))
    return table


def _of(estimator: Estimator, X: Matrix) -> Floats:
    return np.asarray(estimator.predict_proba(X)[:, 1], dtype=np.float64)


def _milliseconds(retriever: Retriever, requests: Sequence[Mapping[str, Any]]) -> float:
    """Of processor time: other processes on the machine do not count."""
    at, started = END.timestamp(), time.process_time()
    for request in requests:
        retriever.candidates(request, at)
    return (time.process_time() - started) / len(requests) * 1000


if __name__ == "__main__":
    typer.run(main)
