"""One suite for every registry: in memory, MLflow on SQLite, and MLflow behind its server, on whichever database."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import CorruptModel, NotFound, Unavailable
from contracts.ports import Registry
from infra.memory_registry import MemoryRegistry
from infra.model_bundle import Bundle, pack, unpack
from infra.registry import MlflowRegistry
from infra.registry_rest import RestModelSource
from infra.settings import Settings
from infra.tracking import Tracker
from tests.conftest import poll, settings_in
from tests.stores.mlflow_process import healthy, starting

# MLflow on SQLite: it uses a loader that SQLAlchemy deprecates, and leaves the connection pool to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*noload.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
NAMES = ("clicks_1h", "hour")


@dataclass
class World:
    """A registry and a way to open the run that a version belongs to."""

    registry: Any
    open_run: Callable[[str], str]

    def register(self, model: bytes, system: str = "tiny") -> Any:
        return self.registry.register(system, model, self.open_run(system), NAMES, {"log_loss": 0.25})


def mlflow_at(url: str) -> World:
    tracker = Tracker(url)

    def open_run(system: str) -> str:
        with tracker.run(system, "test", {}) as run:
            return run.run_id

    return World(MlflowRegistry(url), open_run)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[str], str]) -> Iterator[str]:
    """MLflow as the stack runs it, on an embedded SQLite or the PostgreSQL that pytest was told of: its URL."""
    folder = tmp_path_factory.mktemp("mlflow")
    settings = settings_in(folder).model_copy(update={"mlflow_database_url": new_database("psycopg")})
    with starting(settings, folder / "server.log"):
        poll(lambda: healthy(settings), seconds=60, what="MLflow")
        yield settings.mlflow


@pytest.fixture(params=["memory", "sqlite", "http"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "memory":
        return World(MemoryRegistry(), lambda system: "run")
    if request.param == "sqlite":
        return mlflow_at(f"sqlite:///{tmp_path}/mlflow.db")
    return mlflow_at(request.getfixturevalue("server"))


@pytest.fixture
def system(request: pytest.FixtureRequest) -> str:
    """A name of its own for each test, for the server outlives them."""
    return "tiny_" + hashlib.sha256(request.node.name.encode()).hexdigest()[:8]


def test_what_is_registered_is_fetched_as_it_was(world: World, system: str) -> None:
    made = world.register(b"onnx bytes", system)
    world.registry.point(system, "challenger", made.version)
    found = world.registry.resolve(system, "challenger")
    assert (found.version, found.feature_names, found.metrics) == (made.version, NAMES, {"log_loss": 0.25})
    assert found.sha256 == hashlib.sha256(b"onnx bytes").hexdigest()
    assert world.registry.fetch(found) == b"onnx bytes"


def test_two_stages_are_registered_and_fetched_as_one(world: World, system: str) -> None:
    model = pack(Bundle(b"onnx bytes", b"an index"))
    made = world.register(model, system)
    assert world.registry.fetch(made) == model
    [found] = world.registry.versions(system)
    assert world.registry.fetch(found) == model
    world.registry.point(system, "champion", world.register(b"one stage", system).version)
    assert world.registry.fetch(world.registry.resolve(system, "champion")) == b"one stage"


def test_what_serving_reads_of_two_stages_is_what_was_registered(server: str, system: str) -> None:
    world, source = mlflow_at(server), RestModelSource(server)
    made = world.register(pack(Bundle(b"onnx bytes", b"an index")), system)
    world.registry.point(system, "champion", made.version)
    read = source.resolve(system, "champion")
    assert read is not None
    assert read == world.registry.resolve(system, "champion")
    assert unpack(source.fetch(read)) == Bundle(b"onnx bytes", b"an index")
    source.close()


def test_an_alias_that_points_nowhere_resolves_to_none(world: World, system: str) -> None:
    assert world.registry.resolve(system, "champion") is None
    assert list(world.registry.versions(system)) == []
    world.register(b"one", system)
    assert world.registry.resolve(system, "champion") is None


def test_a_model_with_another_digest_is_refused(world: World, system: str) -> None:
    made = world.register(b"onnx bytes", system)
    with pytest.raises(CorruptModel, match=f"{system} version 1"):
        world.registry.fetch(replace(made, sha256="0" * 64))


def test_the_champion_rolls_back_again_and_again(world: World, system: str) -> None:
    for model in (b"one", b"two", b"three"):
        world.registry.point(system, "champion", world.register(model, system).version)
    assert world.registry.rollback(system).version == "2"
    assert world.registry.resolve(system, "champion").version == "2"
    assert world.registry.rollback(system).version == "1"
    with pytest.raises(NotFound, match="no champion before"):
        world.registry.rollback(system)
    assert world.registry.resolve(system, "champion").version == "1"


def test_pointing_twice_at_the_same_version_is_remembered_once(world: World, system: str) -> None:
    for version in (world.register(b"one", system).version, world.register(b"two", system).version):
        world.registry.point(system, "champion", version)
        world.registry.point(system, "champion", version)
    assert world.registry.rollback(system).version == "1"


def test_a_rollback_without_a_champion_is_one_sentence(world: World, system: str) -> None:
    with pytest.raises(NotFound, match=system):
        world.registry.rollback(system)


def test_pointing_at_a_version_that_does_not_exist_names_it(world: World, system: str) -> None:
    world.register(b"one", system)
    with pytest.raises(NotFound, match="no version 7"):
        world.registry.point(system, "champion", "7")


def test_tags_stay_with_their_version(world: World, system: str) -> None:
    for model in (b"one", b"two"):
        world.register(model, system)
    world.registry.annotate(system, "1", {"gate": "refused", "gate_reasons": "It is no better than the base rate."})
    world.registry.annotate(system, "1", {"gate": "passed"})
    one, two = world.registry.versions(system)
    assert one.tags["gate"] == "passed"
    assert one.tags["gate_reasons"].startswith("It is")
    assert "gate" not in two.tags


def test_a_model_changed_behind_the_registry_is_refused(tmp_path: Path) -> None:
    world = mlflow_at(f"sqlite:///{tmp_path}/mlflow.db")
    made = world.register(b"onnx bytes")
    (stored,) = tmp_path.glob("artifacts/**/model.onnx")
    stored.write_bytes(b"other bytes")
    with pytest.raises(CorruptModel, match="SHA-256"):
        world.registry.fetch(made)
    stored.unlink()
    with pytest.raises(CorruptModel, match="not among"):
        world.registry.fetch(made)


def test_without_a_server_the_answer_comes_soon_and_is_one_sentence(settings: Settings) -> None:
    registry: Registry = MlflowRegistry(settings.mlflow)
    registry.versions  # noqa: B018  # the vendor's import is not what is timed
    started = time.monotonic()
    with pytest.raises(Unavailable, match=f"{settings.mlflow} cannot be reached"):
        registry.resolve("tiny", "champion")
    assert time.monotonic() - started < 10


def test_resolving_over_http_is_cheap_enough_for_every_second(server: str, system: str) -> None:
    world = mlflow_at(server)
    world.registry.point(system, "champion", world.register(b"one", system).version)
    started = time.monotonic()
    for _ in range(20):
        world.registry.resolve(system, "champion")
    assert (time.monotonic() - started) / 20 < 0.25


def test_versions_over_http_are_those_of_the_client(server: str, system: str) -> None:
    world, source = mlflow_at(server), RestModelSource(server)
    assert source.versions(system) == []
    for model in (b"first", b"second"):
        made = world.register(model, system)
        world.registry.annotate(system, made.version, {"gate": "passed"})
    assert source.versions(system) == world.registry.versions(system)
    assert [each.version for each in source.versions(system)] == ["1", "2"]
    source.close()
