"""The two stages on MovieLens 100K: `python -m benchmarks.movielens FOLDER` prints two tables in about a minute."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from systems.video_recommendation import films, movielens
from systems.video_recommendation.films import StageOne
from systems.video_recommendation.model import ranker
from systems.video_recommendation.movielens import Rank, Ratings, Scores, Split
from systems.video_recommendation.training import ScaledLogisticRegression

SHARE, FIRST = 0.75, 101  # no choice was made by looking at these splits
HERE = Path(__file__).resolve().parents[1]
Folder = Annotated[Path, typer.Argument(envvar="MOVIELENS_100K", help="of your own copy: u.data and u.item")]


def main(folder: Folder = HERE.parent / "shared" / "data" / "ml-100k", seed: int = FIRST, splits: int = 5) -> None:
    """Popularity, stage one and two stages, on random splits of each user's ratings and on a split by time."""
    ratings, console, seeds = movielens.load(folder), Console(), range(seed, seed + splits)
    at_random = [measured(ratings, movielens.at_random(SHARE, one), one) for one in seeds]
    console.print(_table(f"75/25 at random by user, seeds {seed} to {seeds[-1]}", at_random))
    by_time = [measured(ratings, movielens.by_time(SHARE), one) for one in seeds]
    console.print(_table(f"75/25 by time, one moment for all, seeds {seed} to {seeds[-1]}", by_time))


def measured(ratings: Ratings, split: Split, seed: int) -> dict[str, Scores]:
    """What each way of ranking is worth on a split. The ranker learns from the training part alone, split likewise."""
    train, test = split(ratings)
    stage = films.stage_one(train, seed)
    ways: dict[str, Rank] = {"popularity": stage.most_watched, "stage one": stage.candidates}
    ways |= _two_stages(stage, train, split, seed)
    return {name: movielens.evaluate(rank, test) for name, rank in ways.items()}


def _two_stages(stage: StageOne, train: Ratings, split: Split, seed: int) -> dict[str, Rank]:
    X, y = films.examples(train, split, seed)
    built = {"trees": ranker(seed), "logistic regression": ScaledLogisticRegression(tuple(range(X.shape[1])))}
    return {f"two stages, {name}": films.two_stages(stage, one.fit(X, y)) for name, one in built.items()}


def _table(title: str, runs: Sequence[dict[str, Scores]]) -> Table:
    """Means over the runs; behind ± the standard deviation of nDCG between them."""
    table = Table(title=title)
    for name in ("k = 10", "nDCG", "±", "MAP", "MAP@k", "users"):
        table.add_column(name, justify="left" if name == "k = 10" else "right", no_wrap=True)
    for name in runs[0]:
        found = np.array([(one.ndcg, one.mean_average_precision, one.map_at_k) for one in (run[name] for run in runs)])
        (ndcg, *others), spread = found.mean(axis=0), found[:, 0].std()
        cells = (f"{figure:.3f}" for figure in (ndcg, spread, *others))
        table.add_row(name, *cells, str(runs[0][name].users))
    return table


if __name__ == "__main__":
    typer.run(main)
