"""Which index finds the nearest of 100,000 videos? `python -m benchmarks.video_index` prints the table in a minute."""

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import faiss
import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from systems.video_recommendation import neighbours, retrieval
from systems.video_recommendation.factors import Ints, Vectors
from systems.video_recommendation.requirements import MOST_CANDIDATES
from systems.video_recommendation.retriever import PULL
from systems.video_recommendation.world import VideoWorld
from tests.conformance.sample import END, LONG_AGO, columns_of

Search = Callable[[Vectors, int], Ints]  # a query and how many → the nearest


def main(seed: int = 7, rows: int = 150_000, requests: int = 300) -> None:
    """Recall of the 500 nearest against exact search, processor time of a search, and what the index costs."""
    faiss.omp_set_num_threads(1)
    vectors, queries = _fitted(seed, rows, requests)
    truth = [neighbours.exact(vectors, query, MOST_CANDIDATES) for query in queries]
    table = Table(title=f"{len(vectors):,} vectors of {vectors.shape[1]} dimensions, {len(queries)} searches")
    for name in ("", "recall", "ms a search", "build s", "MB"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    table.add_row("exact (NumPy)", *_measured(partial(neighbours.exact, vectors), queries, truth), "", "")
    for name, build in {"lists, as served": _lists, "graph (HNSW), depth 500": _graph}.items():
        started = time.process_time()
        index = build(vectors)
        seconds = time.process_time() - started
        figures = _measured(neighbours.Neighbours(index).search, queries, truth)
        table.add_row(name, *figures, f"{seconds:.1f}", f"{len(faiss.serialize_index(index)) / 1e6:.0f}")
    Console().print(table)


def _fitted(seed: int, rows: int, requests: int) -> tuple[Vectors, list[Vectors]]:
    """The videos' vectors as stage one searches them, and those of users."""
    world = VideoWorld(seed)
    history = pd.concat(world.history(END - timedelta(days=7), END, rows), ignore_index=True)
    items = world.items(LONG_AGO, END)
    state = retrieval.fit(columns_of(history), columns_of(items), seed).state
    histories = [state.shelf.places.all_of(one["watched"]) for one in world.requests(requests, END, 1)]
    return state.searched, [PULL.query(state.factors.user(places)) for places in histories if places]


def _lists(vectors: Vectors) -> Any:
    return neighbours.build(vectors, 0).index


def _graph(vectors: Vectors) -> Any:
    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 100, 500
    index.add(vectors)
    return index


def _measured(search: Search, queries: list[Vectors], truth: list[Ints]) -> tuple[str, str]:
    started = time.process_time()
    found = [search(query, MOST_CANDIDATES) for query in queries]
    spent = (time.process_time() - started) / len(queries) * 1000
    recall = np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)])
    return f"{recall:.3f}", f"{spent:.2f}"


if __name__ == "__main__":
    typer.run(main)
