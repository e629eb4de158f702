"""A small system of two stages, `kiosk`: films for people, found by what they and others watched of each genre.

Its stage one is plain numpy, and a film published later is found by its genre. Films and people repeat from a seed.
"""

import io
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from contracts.system import (
    AT,
    Columns,
    Decision,
    Estimator,
    Evidence,
    Feature,
    Features,
    FeatureView,
    Floats,
    Gate,
    Model,
    Retrieval,
    Serving,
    Source,
    System,
    Task,
    Training,
)
from contracts.world import Drift, SimulatedOutcome
from tests.stores.log_records import SHOP

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
GENRES = np.array(["crime", "drama", "nature", "sport"], dtype=object)
MOST = 40  # candidates
ITEMS = Source("films", "film_id", {"genre": "string", "minutes": "float"}, optional={"minutes": 90.0})
SOURCE = Source(
    "views",
    "view_id",
    {"user_id": "string", "film_id": "string", "genre": "string", "similarity": "float", "watched": "float"},
    optional={"similarity": 0.0},
)


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid")
    user_id: str
    slots: int = 3


class Films(BaseModel):
    films: list[str]


class GenreRetriever:
    """How much of each genre a person watched, smoothed; all films of the catalogue, the newest first where equal."""

    def __init__(self, tastes: Mapping[str, Sequence[float]], films: Mapping[str, tuple[int, float]]) -> None:
        self.tastes, self.films = dict(tastes), dict(films)
        self.lock = threading.Lock()

    def candidates(self, request: Mapping[str, Any], at: float) -> Columns:
        taste = self._taste(request["user_id"])
        with self.lock:
            known = sorted(self.films.items(), key=lambda film: (-taste[film[1][0]], -film[1][1]))[:MOST]
        genre = np.array([index for _, (index, _) in known], dtype=np.int64)
        return {
            "user_id": np.full(len(known), request["user_id"], dtype=object),
            "film_id": np.array([film for film, _ in known], dtype=object),
            "genre": GENRES[genre],
            "similarity": np.asarray(taste)[genre],
        }

    def columns(self, rows: Columns) -> Columns:
        genre = np.searchsorted(GENRES.astype(str), rows["genre"].astype(str))
        tastes = np.array([self._taste(user) for user in rows["user_id"]]).reshape(-1, len(GENRES))
        return {"similarity": tastes[np.arange(len(genre)), genre]}

    def add(self, items: Columns) -> None:
        if "" in items["film_id"].tolist():
            raise ValueError("a film without a name")
        genre = np.searchsorted(GENRES.astype(str), items["genre"].astype(str))
        with self.lock:
            self.films.update(zip(items["film_id"], zip(genre.tolist(), items[AT].tolist(), strict=True), strict=True))

    def dump(self) -> bytes:
        return json.dumps({"tastes": self.tastes, "films": self.films}).encode()

    def _taste(self, user: str) -> Sequence[float]:
        return self.tastes.get(user, self.tastes[""])


def fit(rows: Columns, items: Columns, seed: int) -> GenreRetriever:
    frame = pd.DataFrame({name: rows[name] for name in ("user_id", "genre", "watched")})
    everyone = frame.groupby("genre")["watched"].mean().reindex(GENRES).fillna(0.5).to_numpy()
    sums = frame.pivot_table(index="user_id", columns="genre", values="watched", aggfunc="sum").reindex(columns=GENRES)
    counts = frame.pivot_table(index="user_id", columns="genre", values="watched", aggfunc="count").reindex(
        columns=GENRES
    )
    rates = (sums.fillna(0) + 3 * everyone) / (counts.fillna(0) + 3)
    tastes = {str(user): values for user, values in zip(rates.index, rates.to_numpy().tolist(), strict=True)}
    retriever = GenreRetriever({**tastes, "": everyone.tolist()}, {})
    retriever.add(items)
    return retriever


def load(content: bytes) -> GenreRetriever:
    held = json.load(io.BytesIO(content))
    return GenreRetriever(held["tastes"], {film: (genre, at) for film, (genre, at) in held["films"].items()})


def hit_rate(retriever: Any, rows: Columns) -> Mapping[str, float]:
    """The mean taste for what was watched, above that for what was not."""
    taste, watched = retriever.columns(rows)["similarity"], rows["watched"] > 0
    return {"taste gap": float(taste[watched].mean() - taste[~watched].mean())}


def on_request(rows: Columns) -> Columns:
    return {
        "similarity_squared": np.asarray(rows["similarity"], dtype=np.float64) ** 2,
        "hour": np.asarray(rows[AT]) % 86_400 / 3600,
        **{f"genre_{name}": np.asarray(rows["genre"] == name, dtype=np.float64) for name in GENRES},
    }


REQUEST_FEATURES = ("similarity_squared", "hour", *(f"genre_{name}" for name in GENRES))


def respond(request: Ask, evidence: Evidence, random: np.random.Generator) -> Decision:
    best = np.argsort(-evidence.scores, kind="stable")[: request.slots]
    films = Films(films=evidence.rows["film_id"][best].tolist())
    return Decision(films, shown=best, propensity=np.ones(len(best)), kept=best)


def _regression(seed: int) -> Estimator:
    estimator: Estimator = LogisticRegression(max_iter=500)
    return estimator


def _base_rate(seed: int) -> Estimator:
    estimator: Estimator = DummyClassifier(strategy="prior")
    return estimator


def films_watched_first(y: Floats, scores: Floats, rows: Columns, weights: Floats) -> float:
    """The share of watched films among the tenth that scores best; `rows` are only counted."""
    best = np.argsort(-scores)[: max(len(rows["film_id"]) // 10, 1)]
    return float(np.average(y[best], weights=weights[best]))


@dataclass(frozen=True)
class KioskWorld:
    """People with a taste for each genre, and films of which one a quarter of an hour is published."""

    seed: int = 0
    users: int = 60

    def history(self, start: datetime, end: datetime, rows: int) -> Iterator[pd.DataFrame]:
        random = np.random.default_rng([self.seed, 1, rows])
        at = np.sort(random.uniform(start.timestamp(), end.timestamp(), rows))
        films = self.items(end - 30 * DAY, end)
        film = (random.random(rows) * np.searchsorted(films[AT].to_numpy(), at)).astype(int)
        frame = pd.DataFrame(
            {
                "view_id": [f"h{number}" for number in range(rows)],
                AT: at,
                "user_id": random.choice([f"u{number}" for number in range(self.users)], rows),
                "film_id": films["film_id"].to_numpy()[film],
                "genre": films["genre"].to_numpy()[film],
                "similarity": 0.0,
            }
        )
        truth = self.truth({name: frame[name].to_numpy() for name in frame})
        yield frame.assign(watched=(random.random(rows) < truth).astype(np.float64))

    def items(self, start: datetime, end: datetime) -> pd.DataFrame:
        first, last = (max(at.timestamp(), (NOON - 60 * DAY).timestamp()) // 900 for at in (start, end))
        numbers = np.arange(int(np.ceil(first)), int(np.ceil(last)))
        genre = GENRES[(numbers * 7919 // 13) % len(GENRES)]
        names = np.array([f"f{number}" for number in numbers], dtype=object)
        return pd.DataFrame(
            {"film_id": names, AT: numbers * 900.0, "genre": genre, "minutes": 60.0 + numbers % 60},
            columns=["film_id", AT, "genre", "minutes"],
        )

    def requests(self, count: int, at: datetime, stream: int) -> Sequence[dict[str, Any]]:
        return [{"user_id": f"u{(stream + number) % self.users}"} for number in range(count)]

    def outcomes(
        self, request: Mapping[str, Any], result: Mapping[str, Any], at: datetime, stream: int
    ) -> Sequence[SimulatedOutcome]:
        return [SimulatedOutcome(result["films"][0], 1.0, at)]

    def truth(self, rows: Mapping[str, NDArray[Any]]) -> Floats:
        tastes = np.random.default_rng([self.seed, 2]).beta(0.6, 1.2, (self.users, len(GENRES)))
        user = np.array([int(name[1:]) for name in rows["user_id"]])
        return np.asarray(tastes[user, np.searchsorted(GENRES.astype(str), rows["genre"].astype(str))])


def _world(seed: int, drift: Drift = Drift()) -> KioskWorld:  # noqa: B008  # frozen
    return KioskWorld(seed)


KIOSK = System(
    name="kiosk",
    requirements=replace(SHOP.requirements, max_candidates=MOST, deadline=timedelta(seconds=20)),
    task=Task("binary_classification", Ask, Films, "watched", "film_id", {"user_id": "u1"}),
    features=Features(SOURCE, (), REQUEST_FEATURES, on_request),
    model=Model(
        name="regression",
        why="it is small",
        build=_regression,
        retrieval=Retrieval(
            items=ITEMS,
            columns=("similarity",),
            share=0.5,
            fit=fit,
            load=load,
            anybody={"user_id": "nobody"},
            metrics=hit_rate,
        ),
    ),
    training=Training(
        holdout=0.3,
        window=20 * DAY,
        half_life=365 * DAY,
        max_rows=50_000,
        baselines={"base_rate": _base_rate},
        slices=("genre",),
        gate=Gate(min_rows=500, margin=0.01, slice_margin=0.05, min_slice_rows=200, resamples=100),
        metrics={"films watched first": films_watched_first},
    ),
    serving=Serving(None, respond, lambda request, rows, features: np.asarray(rows["similarity"], dtype=np.float64)),
    monitoring=SHOP.monitoring,
    world=_world,
)


VIEW = FeatureView(
    name="user",
    entities=("user_id",),
    features=(
        Feature("user_views_2d", "count", 2 * DAY, default=0.0),
        Feature("user_rate_2d", "mean", 2 * DAY, 0.4, "watched", after=SHOP.requirements.label_delay, strength=5),
    ),
    every=timedelta(hours=6),
    ttl=5 * DAY,
)
KIOSK_WITH_A_VIEW = replace(KIOSK, features=replace(KIOSK.features, views=(VIEW,)))  # for what runs on real stores


def history(rows: int, end: datetime = NOON, days: float = 10, seed: int = 0) -> pd.DataFrame:
    """Events with the features as they stood, which here is what the request alone says."""
    frame = pd.concat(KioskWorld(seed).history(end - days * DAY, end, rows), ignore_index=True)
    return with_features(frame)


def with_features(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**on_request({name: frame[name].to_numpy() for name in frame}))


def catalogue(end: datetime = NOON, seed: int = 0) -> Columns:
    """Everything that is published by then, as `Retrieval.fit` takes it."""
    films = KioskWorld(seed).items(end - 60 * DAY, end)
    return {name: films[name].to_numpy() for name in films}
