"""Training and the gate on real stores: events, Feast, MLflow. What comes out is what the registry holds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow.onnx
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import systems
from contracts.errors import InvalidInput, NotFound, RefusedCandidate
from contracts.ports import Registry
from contracts.records import ModelVersion
from contracts.system import System
from infra import wiring
from infra.settings import Settings
from pipelines import holdout, ingest, materialize, promote, train
from pipelines.metrics import measure
from pipelines.onnx_export import score, to_onnx
from pipelines.training_rows import TrainingRows, gather, split
from tests.conftest import settings_in

# MLflow on SQLite: it uses a loader that SQLAlchemy deprecates, and leaves the connection pool to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*noload.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
NOW = datetime(2026, 3, 15, tzinfo=UTC)  # the history ends then, so that it is the same in each run
DAYS, ROWS = 14, 400_000


def silent(line: str) -> None:
    """Nobody listens."""


@dataclass
class Trained:
    """Stores with a history in them, and the first model that was trained on it."""

    settings: Settings
    system: System
    registry: Registry
    rows: TrainingRows
    first: ModelVersion
    said: list[str]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.settings.mlflow, self.settings.mlflow)

    def another(self, rows: TrainingRows) -> ModelVersion:
        return train.record(self.settings, self.system, train.fit(self.system, rows, silent), "test", silent)

    def champion(self) -> str | None:
        found = self.registry.resolve(self.system.name, "champion")
        return found.version if found else None

    def tags(self, version: ModelVersion) -> dict[str, str]:
        return dict(
            next(each.tags for each in self.registry.versions(self.system.name) if each.version == version.version)
        )


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """OpenMP's threads wait by spinning: on a busy machine two of them took three times the processor time of one."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def trained(redis_settings: Settings, tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Trained:
    folder = tmp_path_factory.mktemp("training")
    stores = {"mlflow_url": f"sqlite:///{folder}/mlflow.db", "redis_url": redis_settings.redis}
    settings = settings_in(folder / "state").model_copy(update=stores)
    system, now = systems.load("ad_click"), wiring.start_clock(settings, NOW, speed=1e-9).now()
    ingest.run(settings, system, ingest.History(seed=3, days=DAYS, rows=ROWS), silent)
    materialize.run(settings, system, now, silent)
    said: list[str] = []
    first = train.run(settings, system, "auto", "the first", said.append)
    return Trained(settings, system, wiring.registry(settings), gather(system, settings), first, said)


def test_a_run_holds_what_a_reader_needs(trained: Trained) -> None:
    run = trained.client.get_run(trained.first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["data_digest"] == trained.first.tags["data_digest"]
    assert len(run.data.tags["git_commit"]) >= 7
    assert run.data.params["source"] == "history"
    assert {"normalised_cross_entropy", "log_loss", "roc_auc", "pr_auc", "calibration_error"} <= set(run.data.metrics)
    assert "baseline.logistic_regression/log_loss" in run.data.metrics
    assert any(name.startswith("slice.device.mobile/") for name in run.data.metrics)
    files = {file.path for file in trained.client.list_artifacts(trained.first.run_id)}
    assert {"holdout.parquet", "model_card.md", "model", "plots"} <= files
    plots = {file.path for file in trained.client.list_artifacts(trained.first.run_id, "plots")}
    assert plots == {f"plots/{name}.png" for name in ("calibration", "roc", "precision_recall", "importance")}


def test_what_is_said_shows_the_progress(trained: Trained) -> None:
    text = "\n".join(trained.said)
    for step in ("gathering rows", "fitting", "ONNX", "base_rate: log loss", "is registered as challenger"):
        assert step in text


def test_the_model_is_better_than_the_base_rate_and_near_the_oracle(trained: Trained) -> None:
    older, newest = split(trained.rows, trained.system.training.holdout)
    events = wiring.events(trained.settings).read(
        trained.system, *(at + timedelta(seconds=second) for at, second in zip(newest.span, (0, 1), strict=True))
    )
    truth = trained.system.world(3).truth({name: events[name].to_numpy() for name in events})
    oracle = measure(events[trained.system.task.target].to_numpy(), truth)["normalised_cross_entropy"]
    own = trained.first.metrics["normalised_cross_entropy"]
    assert older.at.max() < newest.at.min()
    assert own < 1
    assert own - oracle < 0.03


def test_mlflow_itself_loads_the_model_with_its_signature(trained: Trained, tmp_path: Path) -> None:
    folder = trained.client.download_artifacts(trained.first.run_id, "model", str(tmp_path))
    model = mlflow.onnx.load_model(folder)
    assert score(model.SerializeToString(), trained.rows.X[:5]) == pytest.approx(
        score(trained.registry.fetch(trained.first), trained.rows.X[:5])
    )
    signature = mlflow.models.get_model_info(folder).signature
    assert tuple(signature.inputs.input_names()) == trained.system.features.names


def test_the_hold_out_is_kept_with_everybodys_scores(trained: Trained, tmp_path: Path) -> None:
    path = wiring.tracker(trained.settings).download(trained.first.run_id, holdout.FILE, tmp_path)
    kept = holdout.read(path, trained.system)
    assert set(kept.baselines) == set(trained.system.training.baselines)
    own = score(trained.registry.fetch(trained.first), kept.X)
    assert measure(kept.y, own)["log_loss"] == pytest.approx(trained.first.metrics["log_loss"])
    assert "score: gradient-boosted trees" in pd.read_parquet(path)


def test_the_first_champion_is_promoted_and_a_refused_one_changes_nothing(trained: Trained) -> None:
    promote.run(trained.settings, trained.system, None, silent)
    assert trained.champion() == trained.first.version
    assert trained.tags(trained.first)["gate"] == "passed"

    shuffled = trained.another(with_shuffled_labels(trained))
    with pytest.raises(RefusedCandidate, match="does not surely beat the baseline"):
        promote.run(trained.settings, trained.system, shuffled.version, silent)
    assert trained.champion() == trained.first.version
    assert trained.tags(shuffled)["gate"] == "refused"
    assert "baseline" in trained.tags(shuffled)["gate_reasons"]


def with_shuffled_labels(trained: Trained) -> TrainingRows:
    """The rows with the labels that are learned from shuffled; those that are judged on stay as they are."""
    older, _ = split(trained.rows, trained.system.training.holdout)
    y = trained.rows.y.copy()
    y[: len(older)] = np.random.default_rng(0).permutation(y[: len(older)])
    return replace(trained.rows, y=y)


def test_a_model_changed_on_the_disk_is_refused(trained: Trained) -> None:
    made = trained.another(trained.rows)
    (stored,) = Path(trained.settings.mlflow.removeprefix("sqlite:///")).parent.glob(
        f"artifacts/**/{made.run_id}/**/model.onnx"
    )
    stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    with pytest.raises(RefusedCandidate, match="SHA-256"):
        promote.run(trained.settings, trained.system, made.version, silent)


def test_scores_that_are_no_probabilities_are_refused_and_the_version_says_when_and_why(trained: Trained) -> None:
    run_id = trained.another(trained.rows).run_id
    made = trained.registry.register(
        trained.system.name, without_numbers(trained), run_id, trained.system.features.names, {}
    )
    with pytest.raises(RefusedCandidate, match=r"probabilit"):
        promote.run(trained.settings, trained.system, made.version, silent)
    tags = trained.tags(made)
    assert tags["gate"] == "refused"
    assert "probabilit" in tags["gate_reasons"]
    assert abs(datetime.fromisoformat(tags["gate_at"]) - NOW) < timedelta(minutes=1)


def without_numbers(trained: Trained) -> bytes:
    """A model that answers NaN: its logistic regression has lost its intercept."""
    width = trained.rows.X.shape[1]
    X = np.random.default_rng(0).normal(size=(200, width))
    broken = LogisticRegression().fit(X, X[:, 0] > 0)
    broken.intercept_ = np.array([np.nan])
    return to_onnx(broken, width)


def test_a_model_of_another_width_is_refused(trained: Trained) -> None:
    narrow = LogisticRegression().fit(trained.rows.X[:5_000, :3], trained.rows.y[:5_000])
    made = trained.registry.register(
        trained.system.name, to_onnx(narrow, 3), trained.another(trained.rows).run_id, ("a", "b", "c"), {}
    )
    with pytest.raises(RefusedCandidate, match="does not score rows of"):
        promote.run(trained.settings, trained.system, made.version, silent)


def test_the_same_rows_give_the_same_model(trained: Trained) -> None:
    few = trained.rows.where(np.arange(len(trained.rows)) < 6_000)
    one, two = (train.fit(trained.system, few, silent) for _ in range(2))
    assert one.onnx == two.onnx
    assert one.older.digest == two.older.digest


def test_a_version_that_does_not_exist_is_named(trained: Trained) -> None:
    with pytest.raises(NotFound, match="no version 99; it has: 1"):
        promote.run(trained.settings, trained.system, "99", silent)


def test_without_events_training_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="flywheel ingest"):
        train.run(settings, systems.load("ad_click"), "auto", "test", silent)
