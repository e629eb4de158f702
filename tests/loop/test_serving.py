"""Serving as it runs: BentoML's processes before a real MLflow server; champions come and go, processes die."""

import asyncio
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from contracts.errors import NoChampion, Unavailable
from contracts.records import ModelVersion, Scored
from infra import components, health
from infra.registry import MlflowRegistry
from infra.registry_rest import RestModelSource
from infra.scorer import HttpScorer
from infra.settings import Settings
from infra.tracking import Tracker
from tests.conftest import free_ports, poll, settings_in
from tests.unit.serving.onnx_models import onnx, rows, truth

# MLflow's client leaves its connections to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SYSTEM, COLUMNS = "ad_click", 5
NAMES = tuple(f"feature_{i}" for i in range(COLUMNS))
SWAPS, SWAP_SECONDS, CALLERS = 20, 5.0, 4


@dataclass(frozen=True)
class Parts:
    """A real MLflow server and serving, and the registry through which the pipelines would speak."""

    settings: Settings
    registry: MlflowRegistry
    seeds: dict[str, int] = field(default_factory=dict)  # what each registered version was made of

    def register(self, seed: int, columns: int = COLUMNS) -> ModelVersion:
        tracker = Tracker(self.settings.mlflow)
        with tracker.run(SYSTEM, "test", {}) as run:
            made = self.registry.register(SYSTEM, onnx(seed, COLUMNS), run.run_id, NAMES[:columns], {"log_loss": 0.5})
        self.seeds[made.version] = seed
        return made

    def promote(self, seed: int) -> str:
        """Register a model, point the champion at it and wait until serving answers with it."""
        version = self.register(seed).version
        self.point(version)
        return version

    def point(self, version: str) -> float:
        """Seconds from the alias moving to the first answer of that version."""
        self.registry.point(SYSTEM, "champion", version)
        moved = time.monotonic()
        poll(lambda: self.described["model_version"] == version, 2 * SWAP_SECONDS, f"version {version} serving")
        return time.monotonic() - moved

    @property
    def described(self) -> dict[str, Any]:
        described: dict[str, Any] = httpx.get(f"{self.settings.serving}/v1/models", timeout=5).json()[SYSTEM]
        return described

    def check(self, scored: Scored, features: Any) -> None:
        expected = truth(self.seeds[scored.model_version], features)
        np.testing.assert_allclose(scored.scores, expected, atol=1e-5)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    folder = tmp_path_factory.mktemp("serving")
    settings = settings_in(folder)
    with running(settings, "mlflow"), running(settings, "serving"):
        yield Parts(settings, MlflowRegistry(settings.mlflow))


@contextmanager
def running(settings: Settings, name: str) -> Iterator[psutil.Process]:
    """A healthy process of the stack, started as the stack starts it, and gone with its family afterwards."""
    component = {one.name: one for one in components.components(settings)}[name]
    environ = components.environ_of(component, settings)
    with settings.path("logs", f"{name}.log").open("ab") as log:
        started = subprocess.Popen(component.command, env=environ, stdout=log, stderr=log)
    process = psutil.Process(started.pid)
    try:
        poll(lambda: not health.fault(component.health, 1.0), 90.0, f"{name} at its health check")
        yield process
    finally:
        end(process)
        started.wait(10)


def end(process: psutil.Process) -> None:
    family = [process, *process.children(recursive=True)] if process.is_running() else []
    for one in family:
        one.terminate()
    _, left = psutil.wait_procs(family, 15)
    for one in left:
        one.kill()


def score(settings: Settings, features: Any, timeout: float = 5.0) -> Scored:
    async def once() -> Scored:
        scorer = HttpScorer(settings.serving, timeout)
        try:
            return await scorer.score(SYSTEM, features)
        finally:
            await scorer.aclose()
            await asyncio.sleep(0)

    return asyncio.run(once())


class Load:
    """Callers that score without pause, each answer held against the version that it names."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.answers = 0
        self.versions: set[str] = set()
        self.failures: list[str] = []
        self.slowest = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()))

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    async def _all(self) -> None:
        scorer = HttpScorer(self.parts.settings.serving, timeout=5.0)
        await asyncio.gather(*(self._caller(scorer, 1 + 10 * number) for number in range(CALLERS)))
        await scorer.aclose()
        await asyncio.sleep(0)

    async def _caller(self, scorer: HttpScorer, count: int) -> None:
        features = rows(count, COLUMNS)
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                scored = await scorer.score(SYSTEM, features)
                self.parts.check(scored, features)
            except (Unavailable, AssertionError, KeyError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            else:
                self.answers += 1
                self.versions.add(scored.model_version)
            self.slowest = max(self.slowest, time.monotonic() - began)


def test_before_the_first_champion_serving_is_up_and_says_that_there_is_none(parts: Parts) -> None:
    assert httpx.get(f"{parts.settings.serving}/readyz").is_success
    with pytest.raises(NoChampion, match="no champion of ad_click yet"):
        score(parts.settings, rows(1, COLUMNS))


def test_twenty_swaps_under_load_fail_no_request_and_mix_no_versions(parts: Parts) -> None:
    versions = [parts.register(seed).version for seed in range(4)]
    parts.point(versions[0])
    with Load(parts) as load:
        took = [parts.point(versions[swap % len(versions)]) for swap in range(1, SWAPS + 1)]
        answers = load.answers
        poll(lambda: load.answers > answers + 10, what="answers after the last swap")
    assert load.failures == []
    assert load.versions == set(versions)
    assert load.answers > 100 * SWAPS / 2
    assert max(took) < SWAP_SECONDS, took


def test_what_serving_reads_over_rest_is_what_was_registered(parts: Parts) -> None:
    version = parts.promote(1)
    source = RestModelSource(parts.settings.mlflow)
    read = source.resolve(SYSTEM, "champion")
    assert read == parts.registry.resolve(SYSTEM, "champion")
    assert read is not None
    assert (read.version, source.fetch(read)) == (version, onnx(1, COLUMNS))
    assert source.resolve(SYSTEM, "no such alias") is None
    assert source.resolve("no such model", "champion") is None


def test_a_corrupt_champion_is_refused_and_the_old_one_goes_on(parts: Parts) -> None:
    old = parts.promote(2)
    bad = parts.register(3)
    artifacts = parts.settings.path("mlflow", "artifacts")
    (file,) = artifacts.glob(f"**/{bad.run_id}/**/model.onnx")
    file.write_bytes(onnx(4, COLUMNS))
    parts.registry.point(SYSTEM, "champion", bad.version)
    poll(lambda: "SHA-256" in (parts.described["last_error"] or ""), what="the refusal")
    assert parts.described["model_version"] == old
    parts.check(score(parts.settings, rows(3, COLUMNS)), rows(3, COLUMNS))
    assert metric(parts, f'flywheel_serving_refusals_total{{system="{SYSTEM}"}}') == 1
    parts.registry.rollback(SYSTEM)
    poll(lambda: parts.described["last_error"] is None, what="the old champion confirmed")


def test_a_champion_for_other_features_is_refused(parts: Parts) -> None:
    old = parts.promote(2)
    parts.registry.point(SYSTEM, "champion", parts.register(3, columns=COLUMNS - 1).version)
    poll(lambda: "registered with 4 feature names" in (parts.described["last_error"] or ""), what="the refusal")
    assert parts.described["model_version"] == old


def test_the_last_verified_copy_serves_when_mlflow_is_down_at_start(parts: Parts) -> None:
    version = parts.promote(5)
    serving_port, mlflow_port = free_ports(2)
    elsewhere = {"serving_port": serving_port, "mlflow_url": f"http://127.0.0.1:{mlflow_port}"}
    settings = parts.settings.model_copy(update=elsewhere)
    with running(settings, "serving"):
        scored = score(settings, rows(4, COLUMNS))
        assert scored.model_version == version
        parts.check(scored, rows(4, COLUMNS))
        alone = Parts(settings, parts.registry)
        poll(lambda: "cannot be reached" in (alone.described["last_error"] or ""), what="the registry's absence")
        assert alone.described["source"] == "verified copy"
        assert metric(alone, "flywheel_serving_registry_up") == 0


def test_people_ask_in_json_and_pickles_are_refused(parts: Parts) -> None:
    version = parts.promote(6)
    features = rows(2, COLUMNS)
    url = f"{parts.settings.serving}/score"
    answer = httpx.post(url, json={"system": SYSTEM, "features": features.tolist()})
    parts.check(Scored(np.array(answer.json()["scores"]), answer.json()["model_version"]), features)
    assert answer.json()["model_version"] == version
    for path in ("/score", f"/v1/score/{SYSTEM}"):
        pickled = {"content-type": "application/vnd.bentoml+pickle", "x-columns": str(COLUMNS)}
        refused = httpx.post(parts.settings.serving + path, content=b"\x80\x05N.", headers=pickled)
        assert (refused.status_code, "pickle" in refused.text) == (415, True)
    for body in ({"system": SYSTEM, "features": [[1, 2], [3]]}, {"system": SYSTEM, "features": [[1.0] * 4]}):
        assert httpx.post(url, json=body).status_code == 400
    assert httpx.post(url, json={"system": "tny", "features": [[1.0]]}).status_code == 404


@pytest.mark.parametrize("killed", ["worker", "parent"])
def test_worker_and_parent_end_together_and_can_start_again_at_once(parts: Parts, killed: str) -> None:
    version = parts.promote(7)
    settings = parts.settings.model_copy(update={"serving_port": free_ports(1)[0]})
    with running(settings, "serving") as parent:
        (worker,) = parent.children()
        assert score(settings, rows(1, COLUMNS)).model_version == version
        os.kill({"worker": worker, "parent": parent}[killed].pid, signal.SIGKILL)
        poll(lambda: gone(worker) and gone(parent), 15.0, "the end of both")
    with socket.socket() as free:
        free.bind((settings.host, settings.serving_port))
    with running(settings, "serving"):
        assert score(settings, rows(1, COLUMNS)).model_version == version


def gone(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def metric(parts: Parts, name: str) -> float:
    told = httpx.get(f"{parts.settings.serving}/metrics", timeout=5).text
    (line,) = (line for line in told.splitlines() if line.startswith(f"{name} "))
    return float(line.rpartition(" ")[2])
