"""A champion of two stages: both swap as one, and stage one learns within seconds of what is published."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from contracts.errors import CorruptModel, NotFound, Unavailable
from contracts.records import ItemRecord
from infra.clock import ManualClock
from infra.memory_log import MemoryCatalogue, MemoryLog
from infra.memory_registry import MemoryRegistry
from infra.model_bundle import Bundle, pack, unpack
from infra.model_cache import ModelCache
from services.serving.champions import KEPT_SECONDS, Champions, Standing
from services.serving.metrics import ServingMetrics
from tests.two_stages import KIOSK, NOON
from tests.unit.serving.onnx_models import NAMES, bundle, onnx, retriever, rows, stage_ones, truth

SOMEBODY = {"user_id": "u7"}
WIDTH = len(KIOSK.features.names)


class Catalogue(MemoryCatalogue):
    """The catalogue in memory, which can be down and remembers from when on it was asked."""

    def __init__(self, log: MemoryLog) -> None:
        super().__init__(log)
        self.down = False
        self.asked: list[datetime] = []

    def since(self, system: str, moment: datetime) -> Sequence[ItemRecord]:
        if self.down:
            raise Unavailable("The log cannot be used.")
        self.asked.append(moment)
        return super().since(system, moment)


class World:
    """Serving's champions of `kiosk`, whose catalogue and registry a test can change."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.registry = folder, MemoryLog(), MemoryRegistry()
        self.catalogue = Catalogue(self.log)
        self.clock = ManualClock(NOON)
        self.restart()

    def restart(self) -> None:
        self.metrics = CollectorRegistry()
        metrics = ServingMetrics(self.metrics)
        cache, opener = ModelCache(self.folder), stage_ones(metrics, self.catalogue)
        self.champions = Champions(self.registry, cache, self.clock, metrics, lambda: ("kiosk", "tiny"), opener)
        self.champions.recover()

    def promote(self, model: bytes, system: str = "kiosk") -> None:
        names = KIOSK.features.names if system == "kiosk" else NAMES
        version = self.registry.register(system, model, "run", names, {}).version
        self.registry.point(system, "champion", version)
        self.champions.poll()

    def publish(self, name: str, received: timedelta = timedelta(0), genre: str = "crime") -> None:
        """A film that is newer than all others."""
        at = NOON + received
        asyncio.run(self.log.append_item(ItemRecord(name, "kiosk", at, {"genre": genre, "minutes": 60.0}, at)))

    def found(self, genre: str = "crime") -> list[str]:
        """The candidates of somebody who watches that genre alone."""
        films = self.champions.retrieve("kiosk", {"user_id": genre}, NOON.timestamp()).rows
        return [str(film) for film in films["film_id"][films["genre"] == genre]]

    @property
    def kiosk(self) -> Standing:
        return self.champions.standings()[0]

    def metric(self, name: str) -> float | None:
        return self.metrics.get_sample_value(f"flywheel_serving_{name}", {"system": "kiosk"})


def of_fans(seed: int = 0) -> bytes:
    """A bundle in which each genre has somebody who watches nothing else."""
    made = retriever(seed)
    made.tastes |= {
        genre: [float(genre == each) for each in ("crime", "drama", "nature", "sport")]
        for genre in ("crime", "drama", "nature", "sport")
    }
    return pack(Bundle(onnx(seed, WIDTH), made.dump()))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_candidates_and_scores_come_of_one_version(world: World) -> None:
    for seed in (1, 2):
        world.promote(bundle(seed))
        found = world.champions.retrieve("kiosk", SOMEBODY, NOON.timestamp())
        scored = world.champions.score("kiosk", rows(5, WIDTH), found.model_version)
        expected = retriever(seed).candidates(SOMEBODY, NOON.timestamp())
        assert found.model_version == scored.model_version == str(seed)
        assert found.rows["similarity"].tolist() == expected["similarity"].tolist()
        np.testing.assert_allclose(scored.scores, truth(seed, rows(5, WIDTH)), atol=1e-6)
    assert (world.metric("candidates_total"), world.metric("swaps_total")) == (80, 2)


def test_a_request_that_a_swap_overtakes_is_ranked_by_its_own_version(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("services.serving.champions.time.monotonic", lambda: now)
    world.promote(bundle(1))
    found = world.champions.retrieve("kiosk", SOMEBODY, NOON.timestamp())
    world.promote(bundle(2))
    scored = world.champions.score("kiosk", rows(5, WIDTH), found.model_version)
    np.testing.assert_allclose(scored.scores, truth(1, rows(5, WIDTH)), atol=1e-6)
    assert world.champions.score("kiosk", rows(5, WIDTH)).model_version == "2"
    now += KEPT_SECONDS
    with pytest.raises(Unavailable, match="Version 1 of kiosk does not serve any more"):
        world.champions.score("kiosk", rows(5, WIDTH), found.model_version)
    world.champions.poll()
    assert world.kiosk.before is None, "an index that nobody can ask for takes no memory"


def test_a_version_that_never_served_scores_nothing(world: World) -> None:
    world.promote(bundle(1))
    with pytest.raises(Unavailable, match="Version 7 of kiosk"):
        world.champions.score("kiosk", rows(1, WIDTH), "7")


def test_without_a_stage_one_or_a_champion_there_are_no_candidates(world: World) -> None:
    world.promote(onnx(1), "tiny")
    with pytest.raises(Unavailable, match="tiny version 1 has no stage one"):
        world.champions.retrieve("tiny", SOMEBODY, NOON.timestamp())
    with pytest.raises(NotFound, match="no champion of kiosk yet"):
        world.champions.retrieve("kiosk", SOMEBODY, NOON.timestamp())


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (bundle(2)[:-100], "are none"),
        (pack(Bundle(b"no ONNX", retriever(2).dump())), "no ONNX model"),
        (pack(Bundle(onnx(2, WIDTH), b"no stage one")), "Its stage one cannot be opened: JSONDecodeError"),
        (pack(Bundle(onnx(2, WIDTH), b'{"tastes": {"": [1, 1, 1, 1]}, "films": {}}')), "finds 0 candidates"),
    ],
)
def test_a_bundle_that_cannot_serve_is_refused_whole_and_the_old_one_goes_on(
    world: World, bad: bytes, said: str
) -> None:
    world.promote(bundle(1))
    world.promote(bad)
    assert said in (world.kiosk.error or "")
    assert world.champions.retrieve("kiosk", SOMEBODY, NOON.timestamp()).model_version == "1"
    assert world.champions.score("kiosk", rows(1, WIDTH)).model_version == "1"
    assert world.metric("refusals_total") == 1


def test_a_stage_one_of_a_system_that_has_none_any_more_is_refused(world: World) -> None:
    one_stage = replace(KIOSK, model=replace(KIOSK.model, retrieval=None))
    opener = stage_ones(ServingMetrics(CollectorRegistry()))
    opener._load = {"kiosk": one_stage}.__getitem__  # as the folder says now
    version = world.registry.register("kiosk", bundle(1), "run", KIOSK.features.names, {})
    with pytest.raises(CorruptModel, match="kiosk has none: train it again"):
        opener.open(version, unpack(bundle(1)).retriever or b"", NOON)


def test_what_is_published_is_found_at_the_next_look(world: World) -> None:
    world.promote(of_fans())
    assert "new" not in world.found("sport")
    world.publish("new", genre="sport")
    world.champions.tell()
    assert world.found("sport")[0] == "new"
    world.publish("newer", timedelta(seconds=1), genre="sport")
    world.champions.tell()
    world.champions.tell()
    assert world.found("sport")[:2] == ["newer", "new"]
    assert world.metric("items_total") == 2, "each is told once"
    assert world.catalogue.asked[-1] == NOON + timedelta(seconds=1) - timedelta(minutes=10)


def test_an_item_that_was_changed_is_told_again(world: World) -> None:
    world.promote(of_fans())
    world.publish("new", genre="sport")
    world.champions.tell()
    world.publish("new", timedelta(seconds=1), genre="nature")
    world.champions.tell()
    assert "new" not in world.found("sport")
    assert world.found("nature")[0] == "new"


def test_a_newly_loaded_stage_one_knows_what_was_published_before(world: World) -> None:
    world.publish("new", timedelta(days=-20))
    world.publish("newer")
    world.promote(of_fans(1))
    assert world.found()[0] == "newer"
    world.promote(of_fans(2))
    assert world.found()[0] == "newer"
    world.restart()
    assert world.found()[0] == "newer", "the copy on the disk is brought up to date too"


def test_without_the_catalogue_serving_goes_on_and_says_so(world: World) -> None:
    world.catalogue.down = True
    world.promote(of_fans())
    assert world.kiosk.loaded is not None
    stage_one = world.kiosk.loaded.stage_one
    assert stage_one is not None
    assert stage_one.error == "The log cannot be used."
    assert world.metrics.get_sample_value("flywheel_serving_catalogue_up") == 0
    assert world.found()
    world.publish("new")
    world.catalogue.down = False
    world.champions.tell()
    assert world.found()[0] == "new"
    assert stage_one.error is None
    assert world.metrics.get_sample_value("flywheel_serving_catalogue_up") == 1


def test_an_item_that_stage_one_cannot_take_keeps_no_other_out(world: World) -> None:
    world.promote(of_fans())
    world.publish("first")
    asyncio.run(
        world.log.append_item(ItemRecord("strange", "kiosk", NOON, {"genre": "crime", "minutes": "long"}, NOON))
    )
    world.publish("last", timedelta(seconds=1))
    world.champions.tell()
    world.champions.tell()
    assert {"first", "last"} < set(world.found())
    assert "strange" not in world.found()
    assert (world.metric("items_total"), world.metric("items_refused_total")) == (2, 1)
