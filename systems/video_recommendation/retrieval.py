"""Stage one as it is fitted and measured."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd

from contracts.system import AT, Columns, Retrieval, Retriever, Source
from systems.video_recommendation import attributes, factors, neighbours, shelf
from systems.video_recommendation.factors import Interactions, Ints
from systems.video_recommendation.neighbours import best
from systems.video_recommendation.requirements import MOST_CANDIDATES
from systems.video_recommendation.retriever import POPULAR, PULL, State, VideoRetriever, load, once
from systems.video_recommendation.shelf import Shelf
from systems.video_recommendation.task import TASK

RANK = 32
HALF_LIFE = 3 * 86_400.0  # of what counts as popular, in seconds
SPREAD = 10  # the popular videos of each category, for who has no history
MEASURED = 200  # users that the metrics look at, at most


def fit(rows: Columns, items: Columns, seed: int) -> VideoRetriever:
    """Stage one from labelled rows and the catalogue: what was watched at least half, and what players remember."""
    stock = shelf.shelf(items)
    own = factors.factorise(_interactions(rows, stock), RANK, seed)
    mapping = attributes.fit(stock.columns, own.taste, own.watched)
    blended = factors.blended(own, mapping(stock.columns))
    state = State(stock, blended)
    return VideoRetriever(state, mapping, neighbours.build(state.searched, seed), _popular(rows, stock))


def metrics(retriever: Retriever, rows: Columns) -> Mapping[str, float]:
    """On newer labelled rows, for at most MEASURED users:

    `recall_against_exact`: of the nearest neighbours by exact search, the share that the index finds;
    `recall_of_watched`: of the videos that the rows show as watched, the share among the candidates;
    `catalogue_coverage`: the share of the catalogue that is anybody's candidate.
    """
    fitted = cast(VideoRetriever, retriever)  # what `fit` made
    firsts = np.unique(rows["user_id"].astype(str), return_index=True)[1][:MEASURED]
    watched = _watched_of(rows)
    exactly, hits, wanted, seen = [], 0, 0, set()
    for row in firsts.tolist():
        body = {name: str(rows[name][row]) for name in ("user_id", "device")}
        history = [name for name in str(rows["watched"][row]).split(" ") if name]
        found = set(fitted.candidates({**body, "watched": history}, float(rows[AT][row]))["video_id"].tolist())
        seen |= found
        later = watched.get(body["user_id"], set()) - set(history)
        hits, wanted = hits + len(found & later), wanted + len(later)
        exactly += _recall(fitted, history)
    return {
        "recall_against_exact": float(np.mean(exactly)) if exactly else 1.0,
        "recall_of_watched": hits / max(wanted, 1),
        "catalogue_coverage": len(seen) / len(fitted.state.shelf),
    }


def _recall(retriever: VideoRetriever, history: Sequence[str]) -> list[float]:
    state, indexed = retriever.state, retriever.index.shape[0]
    if not (places := state.shelf.places.all_of(history)):
        return []
    query = PULL.query(state.factors.user(places))
    truth = neighbours.exact(state.searched[:indexed], query, MOST_CANDIDATES)
    return [len(np.intersect1d(truth, retriever.index.search(query, MOST_CANDIDATES))) / len(truth)]


def _watched_of(rows: Columns) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in np.flatnonzero(np.asarray(rows[TASK.target]) > 0).tolist():
        found.setdefault(str(rows["user_id"][row]), set()).add(str(rows["video_id"][row]))
    return found


def _interactions(rows: Columns, stock: Shelf) -> Interactions:
    """Videos watched at least half, and all that stood in a history."""
    user, users = pd.factorize(rows["user_id"])
    liked = np.flatnonzero(np.asarray(rows[TASK.target]) > 0)
    pages = pd.DataFrame({"user": user, "watched": rows["watched"]}).drop_duplicates()
    places = [stock.places.all_of(names.split(" ")) for names in pages["watched"]]
    owner = np.repeat(pages["user"].to_numpy(), [len(page) for page in places])
    remembered = np.fromiter((place for page in places for place in page), dtype=np.int64, count=len(owner))
    item = np.concatenate([stock.find(np.asarray(rows["video_id"])[liked]), remembered])
    owners, known = np.concatenate([user[liked], owner]), item >= 0
    return Interactions(owners[known], item[known], len(users), len(stock))


def _popular(rows: Columns, stock: Shelf) -> Ints:
    """Positions by how often they were watched of late; the first are the best of each category in turn."""
    age = np.max(rows[AT]) - np.asarray(rows[AT])
    position = stock.find(rows["video_id"])
    weight = np.where(position >= 0, np.asarray(rows[TASK.target]) * 0.5 ** (age / HALF_LIFE), 0.0)
    order = best(np.bincount(np.maximum(position, 0), weight, len(stock)), 20 * MOST_CANDIDATES)
    return once(order[:POPULAR], _spread(order, stock), order[: 2 * MOST_CANDIDATES])


def _spread(order: Ints, stock: Shelf) -> Ints:
    """The first SPREAD of each category, one of each category after the other."""
    taken: Counter[str] = Counter()
    turns: list[tuple[int, int]] = []
    for position in order.tolist():
        category = stock.columns["category"][position]
        if taken[category] < SPREAD:
            turns.append((taken[category], position))
        taken[category] += 1
    return np.array([position for _, position in sorted(turns, key=lambda turn: turn[0])], dtype=np.int64)


ITEMS = Source(
    name="videos", id="video_id", columns={"category": "string", "creator_id": "string", "duration": "float"}
)

RETRIEVAL = Retrieval(
    items=ITEMS,
    columns=("similarity", "category_share"),
    share=0.5,
    fit=fit,
    load=load,
    anybody={"user_id": "anybody", "device": "phone", "watched": [], "slots": 20},
    metrics=metrics,
)
