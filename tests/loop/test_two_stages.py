"""Two stages go round the loop on real stores: trained, judged, served as one, and told of what is published."""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import mlflow.onnx
import numpy as np
import pandas as pd
import pytest
import uvicorn
from mlflow.tracking import MlflowClient
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount

from contracts.records import ModelVersion
from infra import wiring
from infra.log import RedisLog
from infra.model_bundle import unpack
from infra.online_features import RedisFeatureReader
from infra.scorer import HttpScorer
from infra.settings import Settings
from pipelines import holdout, ingest, materialize, promote, train
from pipelines.onnx_export import score
from services.gateway.app import Limits, build
from services.gateway.catalogue import Catalogue
from services.gateway.stages import Platform
from services.recorder.health import Health
from services.recorder.metrics import Metrics
from services.recorder.recorder import Recorder
from services.serving.app import application
from services.serving.champions import Champions
from services.serving.metrics import ServingMetrics
from services.serving.stage_one import StageOnes
from tests.conftest import empty, poll, settings_in
from tests.two_stages import DAY, KIOSK_WITH_A_VIEW, NOON, KioskWorld, load

# MLflow on SQLite: it uses a loader that SQLAlchemy deprecates, and leaves the connection pool to the collector.
# uvicorn imports what it never uses here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*noload.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:websockets.legacy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:websockets.server:DeprecationWarning"),
]
SYSTEM, KEY, SEED = KIOSK_WITH_A_VIEW, "the-key-of-this-test", 5
PATIENCE = 5.0  # seconds for each part: what is tested here is not how fast a busy machine is


def silent(line: str) -> None:
    """Nobody listens."""


@dataclass
class Loop:
    """Stores with a champion of two stages in them, serving's own application over them, and a gateway in front."""

    settings: Settings
    first: ModelVersion
    champions: Champions
    now: datetime

    def ask(self, *calls: tuple[str, dict[str, Any]]) -> list[httpx.Response]:
        """Answers of a gateway to requests, in order."""

        async def work() -> list[httpx.Response]:
            reader, log = RedisFeatureReader(self.settings.redis, PATIENCE), RedisLog(self.settings.log_redis, PATIENCE)
            scorer = HttpScorer(self.settings.serving, PATIENCE)
            platform = Platform(reader, scorer, log, wiring.clock(self.settings))
            app = build(platform, Catalogue({SYSTEM.name: SYSTEM}, {}), Limits(KEY, 10_000, 65_536)).app
            headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
            transport = httpx.ASGITransport(app)
            try:
                async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
                    return [await client.post(f"/v1/systems/kiosk/{path}", json=body) for path, body in calls]
            finally:
                for port in (reader, log, scorer):
                    await port.aclose()
                await asyncio.sleep(0)  # the transports close in the loop's next turn

        return asyncio.run(work())

    def predict(self, user: str = "u7", slots: int = 5) -> dict[str, Any]:
        [answer] = self.ask(("predictions", {"user_id": user, "slots": slots}))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def publish(self, name: str, genre: str) -> None:
        body = {"film_id": name, "published_at": self.now.isoformat(), "genre": genre}
        [answer] = self.ask(("items", body))
        assert answer.status_code == 202, answer.text

    def record(self) -> None:
        """Bring the log to rest, as the recorder does."""
        archive, consumer = wiring.archive(self.settings), wiring.log_consumer(self.settings, "test")
        recorder = Recorder(consumer, archive, Metrics(), Health())
        assert recorder.turn(0.0)


@pytest.fixture(scope="module")
def loop(redis_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    folder = tmp_path_factory.mktemp("two_stages")
    empty(redis_settings.redis)
    empty(redis_settings.log_redis)
    given = {
        "mlflow_url": f"sqlite:///{folder}/mlflow.db",
        "redis_url": redis_settings.redis,
        "log_redis_url": redis_settings.log_redis,
    }
    settings = settings_in(folder / "state").model_copy(update=given)
    now = wiring.start_clock(settings, NOON, speed=1e-9).now()
    ingest.run(settings, SYSTEM, ingest.History(seed=SEED, days=10, rows=12_000), silent)
    materialize.run(settings, SYSTEM, now, silent)
    first = train.run(settings, SYSTEM, "auto", "the first", silent)
    promote.run(settings, SYSTEM, None, silent)
    with serving(settings) as champions:
        yield Loop(settings, first, champions, now)


class serving:  # noqa: N801  # a context manager
    """Serving's own application, under uvicorn in a thread, on the port that the settings name."""

    def __init__(self, settings: Settings) -> None:
        metrics = ServingMetrics(CollectorRegistry())
        systems = {SYSTEM.name: SYSTEM}
        opener = StageOnes(systems.__getitem__, lambda: wiring.catalogue(settings), metrics)
        self.champions = Champions(
            wiring.registry(settings),
            wiring.model_cache(settings),
            wiring.clock(settings),
            metrics,
            lambda: ("kiosk",),
            opener,
        )
        self.champions.poll()
        application.state.champions = self.champions
        config = uvicorn.Config(Starlette(routes=[Mount("/v1", application)]), log_level="warning", lifespan="off")
        self.server = uvicorn.Server(config)
        listening = socket.create_server(("127.0.0.1", settings.serving_port))
        self.thread = threading.Thread(target=self.server.run, args=([listening],), daemon=True)

    def __enter__(self) -> Champions:
        self.thread.start()
        poll(lambda: self.server.started, what="uvicorn")
        return self.champions

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)


def test_the_run_says_what_stage_one_was_fitted_on_and_is_worth(loop: Loop, tmp_path: Path) -> None:
    client = MlflowClient(loop.settings.mlflow, loop.settings.mlflow)
    run = client.get_run(loop.first.run_id)
    assert run.data.metrics["retrieval/taste gap"] > 0.05
    assert {"films watched first", "baseline.base_rate/films watched first"} <= set(run.data.metrics)
    assert re.match(r"fitted on 5,9\d\d rows to 2026-02-25 .* and 5,\d{3} items", run.data.tags["stage_one"])
    assert loop.first.tags["stage_one"] == run.data.tags["stage_one"]
    files = {file.path for file in client.list_artifacts(loop.first.run_id, "model")}
    assert files == {"model/MLmodel", "model/model.onnx", "model/model.bundle"}
    known = mlflow.onnx.load_model(client.download_artifacts(loop.first.run_id, "model", str(tmp_path)))
    X = np.zeros((3, len(SYSTEM.features.names)), dtype=np.float32)
    bundle = unpack(wiring.registry(loop.settings).fetch(loop.first))
    assert score(known.SerializeToString(), X) == pytest.approx(score(bundle.ranker, X)), "MLflow knows the ranker"


def test_the_gate_scored_the_hold_out_as_it_is_kept(loop: Loop, tmp_path: Path) -> None:
    path = wiring.tracker(loop.settings).download(loop.first.run_id, holdout.FILE, tmp_path)
    kept = holdout.read(path, SYSTEM)
    champion = wiring.registry(loop.settings).resolve("kiosk", "champion")
    assert champion is not None
    items = wiring.archive(loop.settings).items(SYSTEM)
    found = promote.champion_scores(wiring.registry(loop.settings), SYSTEM, champion, kept, items)
    own = pd.read_parquet(path)[f"score: {SYSTEM.model.name}"].to_numpy()
    np.testing.assert_allclose(found, own, atol=1e-6)  # type: ignore[arg-type]  # there is a champion


def test_a_request_is_answered_by_both_stages_of_one_version(loop: Loop) -> None:
    answer = loop.predict()
    assert (answer["model_version"], answer["variant"]) == (loop.first.version, "champion")
    assert answer["degraded"] == []
    bundle = unpack(wiring.registry(loop.settings).fetch(loop.first))
    found = load(bundle.retriever or b"").candidates({"user_id": "u7"}, loop.now.timestamp())
    assert set(answer["result"]["films"]) <= set(found["film_id"])
    assert len(answer["result"]["films"]) == 5


def test_what_the_clients_see_is_what_they_like(loop: Loop) -> None:
    """Two stages beat chance by far, in the world's own truth."""
    world = KioskWorld(SEED)
    films = world.items(NOON - 60 * DAY, NOON).set_index("film_id")["genre"]
    liked = []
    for user in (f"u{number}" for number in range(20)):
        genres = films[loop.predict(user)["result"]["films"]].to_numpy()
        liked.append(world.truth({"user_id": np.full(len(genres), user), "genre": genres}).mean())
    chance = np.random.default_rng([SEED, 2]).beta(0.6, 1.2, (world.users, 4))[:20].mean()
    assert np.mean(liked) > chance + 0.2


def test_a_published_film_is_recommended_and_comes_to_rest(loop: Loop) -> None:
    favourite = str(loop.champions.retrieve("kiosk", {"user_id": "u7"}, NOON.timestamp()).rows["genre"][0])
    loop.publish("fresh", favourite)
    loop.champions.tell()
    answer = loop.predict(slots=40)
    assert "fresh" in answer["result"]["films"]
    loop.record()
    items = wiring.archive(loop.settings).items(SYSTEM).set_index("film_id")
    assert items.loc["fresh", "genre"] == favourite
    assert items.loc["fresh", "minutes"] == 90.0
    logged = wiring.archive(loop.settings).prediction(answer["prediction_id"])
    assert logged is not None
    names = SYSTEM.features.names
    similarity = np.asarray(logged.rows["similarity"], dtype=np.float64)
    np.testing.assert_allclose(logged.features[:, names.index("similarity_squared")], similarity**2, rtol=1e-6)


def test_a_swap_brings_ranker_and_stage_one_together(loop: Loop) -> None:
    before = loop.predict()["model_version"]
    second = train.run(loop.settings, SYSTEM, "history", "another", silent)
    wiring.registry(loop.settings).point("kiosk", "champion", second.version)
    loop.champions.poll()
    answers = [loop.predict(f"u{number}") for number in range(3)]
    assert {answer["model_version"] for answer in answers} == {second.version} != {before}
    assert {answer["variant"] for answer in answers} == {"champion"}
    assert loop.champions.retrieve("kiosk", {"user_id": "u7"}, NOON.timestamp()).model_version == second.version


def test_a_candidate_is_judged_against_a_champion_of_two_stages(loop: Loop) -> None:
    third = train.run(loop.settings, SYSTEM, "history", "a third", silent)
    promote.run(loop.settings, SYSTEM, third.version, silent)
    tags = next(each.tags for each in wiring.registry(loop.settings).versions("kiosk") if each.version == third.version)
    assert tags["gate"] == "passed"
    assert tags["gate champion"].startswith("+0.00000 [+0.00000"), "the same rows give the same model"
