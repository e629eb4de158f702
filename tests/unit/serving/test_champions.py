"""Serving follows the registry's champion, refuses what it cannot use, and starts from its own copies."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from contracts.errors import InvalidInput, NotFound, Unavailable
from contracts.records import ModelVersion
from infra.clock import ManualClock
from infra.memory_registry import MemoryRegistry
from infra.model_cache import ModelCache
from services.serving.champions import POLL_SECONDS, Champions, Standing
from services.serving.metrics import ServingMetrics
from tests.unit.serving.onnx_models import NAMES, onnx, rows, stage_ones, truth


class Registry(MemoryRegistry):
    """The twin of the registry, which can be down and counts what is fetched from it."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.fetched = 0
        self.resolved: list[str] = []

    def resolve(self, system: str, alias: str) -> ModelVersion | None:
        self.resolved.append(system)
        if self.down:
            raise Unavailable("MLflow cannot be reached.")
        return super().resolve(system, alias)

    def fetch(self, version: ModelVersion) -> bytes:
        self.fetched += 1
        return super().fetch(version)

    def promote(self, model: bytes, system: str = "tiny") -> str:
        version = self.register(system, model, "run", NAMES, {}).version
        self.point(system, "champion", version)
        return version


class World:
    """Serving's champions over a registry, copies in a folder, and metrics of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry()
        self.clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.restart()

    def restart(self) -> None:
        self.metrics = CollectorRegistry()
        metrics = ServingMetrics(self.metrics)
        self.champions = Champions(
            self.registry,
            ModelCache(self.folder),
            self.clock,
            metrics,
            lambda: ("other", "tiny"),
            stage_ones(metrics),
        )
        self.champions.recover()

    @property
    def tiny(self) -> Standing:
        return self.champions.standings()[1]

    def metric(self, name: str) -> float | None:
        return self.metrics.get_sample_value(f"flywheel_serving_{name}", {"system": "tiny"})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_scores_and_version_belong_together(world: World) -> None:
    for seed in (1, 2):
        world.registry.promote(onnx(seed))
        world.champions.poll()
        scored = world.champions.score("tiny", rows(7))
        np.testing.assert_allclose(scored.scores, truth(seed, rows(7)), atol=1e-6)
        assert scored.model_version == str(seed)
    assert (world.metric("swaps_total"), world.metric("model_version"), world.metric("rows_total")) == (2, 2, 14)


def test_before_the_first_champion_there_is_a_clear_error(world: World) -> None:
    world.champions.poll()
    with pytest.raises(NotFound, match="no champion of tiny yet"):
        world.champions.score("tiny", rows(1))
    with pytest.raises(NotFound, match=r"No system named .tny.\. Known: other, tiny"):
        world.champions.score("tny", rows(1))


def test_other_features_than_the_models_are_refused(world: World) -> None:
    world.registry.promote(onnx(1))
    world.champions.poll()
    with pytest.raises(InvalidInput, match="tiny version 1 takes 3 features a row, not 4"):
        world.champions.score("tiny", rows(1, 4))


def test_a_corrupt_champion_is_refused_and_the_old_one_goes_on(world: World) -> None:
    world.registry.promote(onnx(1))
    world.champions.poll()
    version = world.registry.promote(onnx(2))
    world.registry.models["tiny", version] = onnx(3)
    world.champions.poll()
    world.champions.poll()
    assert world.champions.score("tiny", rows(1)).model_version == "1"
    assert "Version 2 is refused" in (world.tiny.error or "")
    assert world.metric("refusals_total") == 1, "a refused version is not fetched again at every poll"
    world.registry.rollback("tiny")
    world.champions.poll()
    assert world.tiny.error is None


@pytest.mark.parametrize("bad", [b"not ONNX", onnx(1, columns=4), onnx(1, zipmap=True)])
def test_a_registered_model_that_cannot_score_is_refused(world: World, bad: bytes) -> None:
    world.registry.promote(bad)
    world.champions.poll()
    assert world.tiny.loaded is None
    assert "Version 1 is refused" in (world.tiny.error or "")


def test_the_last_verified_copy_serves_while_the_registry_is_down(world: World) -> None:
    world.registry.promote(onnx(1))
    world.registry.promote(onnx(2))
    world.champions.poll()
    world.registry.rollback("tiny")
    world.champions.poll()
    world.registry.down = True
    world.restart()
    world.champions.poll()
    assert world.champions.score("tiny", rows(1)).model_version == "1", "the last champion, not the newest version"
    assert (world.tiny.source, world.tiny.error) == ("verified copy", "MLflow cannot be reached.")
    assert world.metric("from_copy") == 1
    assert world.metrics.get_sample_value("flywheel_serving_registry_up") == 0
    world.registry.down = False
    world.champions.poll()
    assert (world.tiny.source, world.tiny.error, world.metric("from_copy")) == ("registry", None, 0)
    assert world.registry.fetched == 2, "what is in a verified copy is not fetched again"


def test_a_copy_that_was_changed_on_disk_is_refused_and_fetched_again(world: World) -> None:
    world.registry.promote(onnx(1))
    world.champions.poll()
    (world.folder / "tiny" / "1" / "model.onnx").write_bytes(onnx(2))
    world.restart()
    assert world.tiny.loaded is None
    assert "SHA-256" in (world.tiny.error or "")
    world.champions.poll()
    np.testing.assert_allclose(world.champions.score("tiny", rows(3)).scores, truth(1, rows(3)), atol=1e-6)


def test_an_alias_that_is_removed_leaves_the_last_champion_and_says_so(world: World) -> None:
    world.registry.promote(onnx(1))
    world.champions.poll()
    world.registry._aliases.clear()  # as MLflow's page lets one do; no port does
    world.champions.poll()
    assert world.champions.score("tiny", rows(1)).model_version == "1"
    assert "names no champion of tiny any more" in (world.tiny.error or "")


def test_one_system_that_fails_keeps_no_other_from_its_champion(world: World) -> None:
    world.registry.promote(onnx(1), system="other")
    world.registry.models.clear()  # fetching fails in a way that nobody foresaw
    world.registry.promote(onnx(2))
    world.champions.poll()
    assert world.champions.score("tiny", rows(1)).model_version == "1"
    assert "KeyError" in (world.champions.standings()[0].error or "")


def test_the_registry_is_asked_for_one_system_after_the_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for all at once: each answer takes the interpreter from the scores for a while."""
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) > 5

    monkeypatch.setattr(world.champions._stopping, "wait", wait)
    world.champions.run()
    assert world.registry.resolved == ["other", "tiny", "other", "tiny", "other"]
    assert set(pauses) == {POLL_SECONDS / 2}


def test_old_copies_go_and_the_champions_stays(world: World) -> None:
    for seed in range(5):
        world.registry.promote(onnx(seed))
        world.champions.poll()
    assert {path.name for path in (world.folder / "tiny").iterdir() if path.is_dir()} == {"3", "4", "5"}


def test_standings_say_since_when_and_when_the_registry_was_last_heard(world: World) -> None:
    world.registry.promote(onnx(1))
    world.champions.poll()
    started = world.clock.now()
    world.clock.advance(timedelta(minutes=5))
    world.champions.poll()
    assert world.tiny.loaded is not None
    assert (world.tiny.loaded.since, world.tiny.polled) == (started, world.clock.now())
