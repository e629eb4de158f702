"""Training in two stages: by time, each on what it will see in serving; registered, judged and served as one."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from contracts.errors import InvalidInput
from contracts.records import ModelVersion
from contracts.system import AT, Columns, Retriever, System
from infra.memory_registry import MemoryRegistry
from infra.model_bundle import Bundle, pack, unpack
from pipelines import holdout, model_card, promote, retrieval, train
from pipelines.metrics import own
from pipelines.onnx_export import score
from pipelines.training_rows import TrainingRows, assemble, enough
from tests.two_stages import DAY, KIOSK, NOON, GenreRetriever, KioskWorld, fit, history, load, on_request

ROWS = 6_000


def silent(line: str) -> None:
    """Nobody listens."""


def rows(system: System = KIOSK, count: int = ROWS, seed: int = 0) -> TrainingRows:
    return assemble(system, history(count, seed=seed), "history")


def films(end: datetime = NOON, seed: int = 0) -> pd.DataFrame:
    return KioskWorld(seed).items(end - 60 * DAY, end)


def trained(system: System = KIOSK, count: int = ROWS, seed: int = 0) -> train.Candidate:
    return train.fit(system, rows(system, count, seed), silent, films(seed=seed))


class Watchful:
    """Fits as `kiosk` does, and remembers what it was given."""

    def __init__(self) -> None:
        self.rows: Columns = {}
        self.items: Columns = {}
        self.added: list[Columns] = []

    def fit(self, rows: Columns, items: Columns, seed: int) -> Retriever:
        self.rows, self.items = rows, items
        made = fit(rows, items, seed)
        add = made.add

        def watched(new: Columns) -> None:
            self.added.append(new)
            add(new)

        made.add = watched  # type: ignore[method-assign]  # a witness
        return made

    @property
    def system(self) -> System:
        return with_retrieval(fit=self.fit)


def with_retrieval(**changed: Any) -> System:
    assert KIOSK.model.retrieval is not None
    return replace(KIOSK, model=replace(KIOSK.model, retrieval=replace(KIOSK.model.retrieval, **changed)))


def test_stage_one_sees_the_oldest_share_and_what_was_published_by_then_alone() -> None:
    watchful, all_rows = Watchful(), rows()
    stage_one = retrieval.fit(watchful.system, all_rows, films(), silent)
    assert stage_one is not None
    newer = stage_one.rows
    assert watchful.rows[AT].max() < newer.at.min()
    assert len(watchful.rows[AT]) + len(newer) == ROWS
    assert abs(len(newer) / ROWS - 0.5) < 0.01
    assert watchful.rows["watched"].sum() + newer.y.sum() == all_rows.y.sum()
    assert watchful.items[AT].max() < newer.at.min()
    [added] = watchful.added
    assert added[AT].min() >= newer.at.min()
    assert len(watchful.items[AT]) + len(added[AT]) == len(films()), "what is served knows all that was published"


def test_the_rankers_rows_hold_what_stage_one_says_of_them_wherever_it_is_looked_at() -> None:
    stage_one = retrieval.fit(KIOSK, rows(), films(), silent)
    assert stage_one is not None
    newer, names = stage_one.rows, KIOSK.features.names
    similarity = load(stage_one.content).columns(newer.rows)["similarity"]
    assert np.array_equal(newer.rows["similarity"], similarity)
    squared = newer.X[:, names.index("similarity_squared")]
    np.testing.assert_allclose(squared, np.asarray(similarity**2, dtype=np.float32))
    assert np.unique(squared).size > 50
    before = rows().X[-len(newer) :]
    others = [place for place, name in enumerate(names) if name != "similarity_squared"]
    assert np.array_equal(newer.X[:, others], before[:, others]), "all else is as it was"
    assert newer.X.dtype == np.float32
    assert newer.weights.mean() == pytest.approx(1.0)


def test_slices_by_what_stage_one_says_are_cut_anew() -> None:
    sliced = replace(KIOSK, training=replace(KIOSK.training, slices=("genre", "similarity")))
    stage_one = retrieval.fit(sliced, rows(sliced), films(), silent)
    assert stage_one is not None
    assert np.array_equal(stage_one.rows.slices["similarity"], stage_one.rows.rows["similarity"].astype(str))


def test_an_echo_of_its_own_labels_would_promise_more_than_it_keeps() -> None:
    """Why the rows are divided: on rows that it was fitted on stage one looks better than on later ones."""
    older, newer = (rows().where(part) for part in (np.arange(ROWS) < ROWS // 8, np.arange(ROWS) >= ROWS // 2))
    echo = fit({**older.rows, "watched": older.y}, {name: films()[name].to_numpy() for name in films()}, 0)
    gaps = []
    for part in (older, newer):
        said = echo.columns(part.rows)["similarity"]
        gaps.append(said[part.y > 0].mean() - said[part.y == 0].mean())
    assert gaps[0] > 1.1 * gaps[1] > 0


def test_the_two_stages_beat_the_base_rate_and_are_registered_as_one() -> None:
    candidate = trained()
    assert candidate.stage_one is not None
    found = train.measured(KIOSK, candidate)
    assert found["regression"]["log_loss"] < found["base_rate"]["log_loss"] - 0.05
    assert unpack(candidate.model) == Bundle(candidate.onnx, candidate.stage_one.content)
    assert trained().model == candidate.model, "the same rows give the same bytes"


def test_what_serves_scores_the_hold_out_as_training_did() -> None:
    """Stage one and ranker as serving opens them, on rows as the gateway makes them."""
    candidate = trained()
    bundle, newest = unpack(candidate.model), candidate.newest
    served = {name: values for name, values in newest.rows.items() if name != "similarity"}
    said = load(bundle.retriever or b"").columns(served)
    computed = on_request({**served, **said})
    X = np.column_stack([computed[name] for name in KIOSK.features.names]).astype(np.float32)
    np.testing.assert_allclose(score(bundle.ranker, X), candidate.own, atol=1e-6)


def test_the_run_holds_the_systems_own_metrics_and_those_of_stage_one() -> None:
    candidate = trained()
    found = train.measured(KIOSK, candidate)
    flat = train.flat(found, {}, "regression") | train.of_stage_one(candidate)
    assert flat["films watched first"] > flat["baseline.base_rate/films watched first"]
    assert flat["retrieval/taste gap"] > 0.05
    assert flat["log_loss"] == found["regression"]["log_loss"]
    card = model_card.write(KIOSK, candidate.older, candidate.newest, found, {}, {"a": "b"})
    assert "| films watched first |" in card


def test_own_metrics_are_given_rows_and_weights() -> None:
    given: list[Mapping[str, Any]] = []

    def spy(y: Any, scores: Any, rows: Columns, weights: Any) -> float:
        given.append({"rows": rows, "weights": weights})
        return float(np.average(y, weights=weights))

    y = np.array([0.0, 1.0])
    found = own({"share": spy}, y, y, {AT: y, "film_id": np.array(["a", "b"], dtype=object)}, np.array([1.0, 3.0]))
    assert found == {"share": 0.75}
    assert set(given[0]["rows"]) == {AT, "film_id"}


@pytest.mark.parametrize(
    ("items", "change", "said"),
    [
        (None, {}, "flywheel ingest kiosk --world"),
        (films().iloc[:0], {}, "flywheel ingest kiosk --world"),
        (films().tail(5), {}, "holds nothing older"),
        (films(), {"at": 1.7e9}, "all of one moment"),
    ],
)
def test_what_stage_one_cannot_be_fitted_on_is_refused(items: Any, change: Any, said: str) -> None:
    table = history(1_000).assign(**change)
    with pytest.raises(InvalidInput, match=said):
        retrieval.fit(KIOSK, assemble(KIOSK, table, "history"), items, silent)


@pytest.mark.parametrize("said", [{}, {"similarity": np.zeros(3)}, {"similarity": np.full(3_000, np.nan)}])
def test_a_stage_one_that_does_not_say_what_it_declares_is_refused(said: Columns) -> None:
    class Silent(GenreRetriever):
        def columns(self, rows: Columns) -> Columns:
            return said

    system = with_retrieval(fit=lambda rows, items, seed: Silent({}, {}))
    with pytest.raises(InvalidInput, match="'similarity'"):
        retrieval.fit(system, rows(system), films(), silent)


def test_a_system_of_one_stage_is_trained_as_ever() -> None:
    single = replace(KIOSK, model=replace(KIOSK.model, retrieval=None))
    candidate = train.fit(single, rows(single), silent)
    assert candidate.stage_one is None
    assert candidate.model == candidate.onnx
    assert len(candidate.older) + len(candidate.newest) == ROWS
    assert train.of_stage_one(candidate) == {}


def test_the_log_must_hold_stage_ones_share_beside_the_rankers() -> None:
    single = replace(KIOSK, model=replace(KIOSK.model, retrieval=None))
    assert enough(KIOSK) == 2 * enough(single)


def registered(registry: MemoryRegistry, candidate: train.Candidate) -> ModelVersion:
    return registry.register("kiosk", candidate.model, "run", KIOSK.features.names, {})


def kept(folder: Path, candidate: train.Candidate, system: System = KIOSK) -> holdout.Holdout:
    holdout.write(folder, system, candidate.newest, candidate.scores)
    return holdout.read(folder / holdout.FILE, system)


def test_the_champion_is_judged_by_what_its_own_stage_one_says(tmp_path: Path) -> None:
    registry, candidate = MemoryRegistry(), trained()
    opposite = with_retrieval(fit=contrary, load=load_contrary)
    champion = registered(registry, trained(opposite, seed=0))
    found = promote.champion_scores(registry, opposite, champion, kept(tmp_path, candidate), films())
    bundle = unpack(registry.fetch(champion))
    contrary_one = ContraryRetriever(*load_parts(bundle.retriever or b""))
    newest = candidate.newest
    columns = {**newest.rows, **contrary_one.columns(newest.rows)}
    X = np.column_stack([on_request(columns)[name] for name in KIOSK.features.names]).astype(np.float32)
    assert found is not None
    np.testing.assert_allclose(found, score(bundle.ranker, X), atol=1e-6)
    assert np.abs(found - score(bundle.ranker, newest.X)).max() > 0.05, "the candidate's columns are other ones"


class ContraryRetriever(GenreRetriever):
    """Says the opposite of what people like."""

    def columns(self, rows: Columns) -> Columns:
        return {"similarity": 1.0 - super().columns(rows)["similarity"]}


def contrary(rows: Columns, items: Columns, seed: int) -> Retriever:
    made = fit(rows, items, seed)
    return ContraryRetriever(made.tastes, made.films)


def load_parts(content: bytes) -> tuple[Any, Any]:
    made = load(content)
    return made.tastes, made.films


def load_contrary(content: bytes) -> Retriever:
    return ContraryRetriever(*load_parts(content))


def test_the_same_champion_scores_as_it_did_when_it_was_the_candidate(tmp_path: Path) -> None:
    registry, candidate = MemoryRegistry(), trained()
    found = promote.champion_scores(
        registry, KIOSK, registered(registry, candidate), kept(tmp_path, candidate), films()
    )
    assert found is not None
    np.testing.assert_allclose(found, candidate.own, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda candidate: candidate.onnx, id="of one stage"),
        pytest.param(lambda candidate: pack(Bundle(candidate.onnx, b"none")), id="no stage one"),
        pytest.param(lambda candidate: pack(Bundle(b"none", candidate.stage_one.content)), id="no ranker"),
        pytest.param(lambda candidate: candidate.model[:-50], id="cut short"),
    ],
)
def test_a_champion_that_cannot_serve_keeps_nobody_out(tmp_path: Path, model: Any) -> None:
    registry, candidate = MemoryRegistry(), trained(count=3_000)
    champion = registry.register("kiosk", model(candidate), "run", KIOSK.features.names, {})
    assert promote.champion_scores(registry, KIOSK, champion, kept(tmp_path, candidate), films()) is None


def test_the_hold_out_of_a_system_of_one_stage_holds_no_row_columns(tmp_path: Path) -> None:
    single = replace(KIOSK, model=replace(KIOSK.model, retrieval=None))
    candidate = train.fit(single, rows(single, 2_000), silent)
    assert set(kept(tmp_path, candidate, single).rows) == {AT}
    two = kept(tmp_path, trained(count=2_000))
    assert set(two.rows) == {"user_id", "film_id", "genre", "similarity", AT}
