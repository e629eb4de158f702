"""One suite for every scorer: in memory, and over HTTP to serving's own application; then the ways HTTP fails."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np
import pytest
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount

from contracts.errors import NoChampion, SetupError, Unavailable
from contracts.ports import Scorer
from contracts.records import Scored
from contracts.system import Matrix
from infra.clock import SystemClock
from infra.memory import MemoryScorer
from infra.memory_registry import MemoryRegistry
from infra.model_cache import ModelCache
from infra.scorer import HttpScorer
from pipelines.onnx_export import with_typical_row
from services.serving.app import application
from services.serving.champions import Champions
from services.serving.metrics import ServingMetrics
from tests.conftest import poll
from tests.two_stages import KIOSK, NOON
from tests.unit.serving.onnx_models import NAMES, bundle, fitted, onnx, retriever, rows, stage_ones, truth

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:websockets.legacy:DeprecationWarning"
    ),  # uvicorn imports what it never uses here
    pytest.mark.filterwarnings("ignore:websockets.server:DeprecationWarning"),
]
TYPICAL = rows(51)  # whose median is the row that scores are explained by
Answer = TypeVar("Answer")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serving's own application with one champion, under uvicorn in a thread."""
    registry = MemoryRegistry()
    registry.register("tiny", with_typical_row(onnx(1), TYPICAL), "run", NAMES, {})
    registry.point("tiny", "champion", "1")
    registry.register("kiosk", bundle(2), "run", KIOSK.features.names, {})
    registry.point("kiosk", "champion", "1")
    cache, metrics = ModelCache(tmp_path_factory.mktemp("models")), ServingMetrics(CollectorRegistry())
    names = ("kiosk", "other", "tiny")
    application.state.champions = champions = Champions(
        registry, cache, SystemClock(), metrics, lambda: names, stage_ones(metrics)
    )
    champions.poll()
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(Starlette(routes=[Mount("/v1", application)]), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    poll(lambda: server.started, what="uvicorn")
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(params=["memory", "http"])
def scorer(request: pytest.FixtureRequest) -> Scorer:
    if request.param == "http":
        return HttpScorer(request.getfixturevalue("url"), timeout=5)
    champions = {"tiny": ("1", partial(truth, 1)), "kiosk": ("1", partial(truth, 2))}
    return MemoryScorer(champions, {"kiosk": retriever(2).candidates}, {"tiny": closed_form})


def closed_form(features: Matrix) -> Matrix:
    """What the features contribute to a linear model's log-odds."""
    return np.asarray(fitted(1).coef_[0] * (features - np.median(TYPICAL, axis=0)), dtype=np.float32)


def test_scores_come_with_the_version_that_gave_them(scorer: Scorer) -> None:
    scored = call(scorer, "tiny", rows(100))
    np.testing.assert_allclose(scored.scores, truth(1, rows(100)), atol=1e-6)
    assert (scored.model_version, scored.scores.dtype) == ("1", np.float64)


def test_where_it_is_asked_each_score_comes_with_what_the_features_contributed(scorer: Scorer) -> None:
    scored = call(scorer, "tiny", rows(5), explain=True)
    assert scored.contributions is not None
    np.testing.assert_allclose(scored.contributions, closed_form(rows(5)), atol=1e-3)
    np.testing.assert_allclose(scored.scores, truth(1, rows(5)), atol=1e-6)
    assert call(scorer, "tiny", rows(5)).contributions is None


def test_what_cannot_be_explained_is_not_answered(url: str) -> None:
    with pytest.raises(Unavailable, match="At most 20 rows"):
        call(HttpScorer(url, timeout=5), "tiny", rows(21), explain=True)


def test_stage_one_finds_candidates_and_names_the_version_that_shall_rank_them(scorer: Scorer) -> None:
    found = asked(scorer, lambda: scorer.retrieve("kiosk", {"user_id": "u7"}, NOON))
    expected = retriever(2).candidates({"user_id": "u7"}, NOON.timestamp())
    assert found.model_version == "1"
    assert {name: values.tolist() for name, values in found.rows.items()} == {
        name: values.tolist() for name, values in expected.items()
    }
    assert {name: values.dtype.kind for name, values in found.rows.items()} == dict.fromkeys(expected, "O") | {
        "similarity": "f"
    }


def test_the_version_named_scores_or_none_does(scorer: Scorer) -> None:
    scored = asked(scorer, lambda: scorer.score("tiny", rows(3), "1"))
    np.testing.assert_allclose(scored.scores, truth(1, rows(3)), atol=1e-6)
    with pytest.raises(Unavailable, match="Version 2 of tiny does not serve any more"):
        asked(scorer, lambda: scorer.score("tiny", rows(3), "2"))


def test_without_a_champion_there_are_no_candidates(scorer: Scorer) -> None:
    with pytest.raises(NoChampion):
        asked(scorer, lambda: scorer.retrieve("other", {}, NOON))


def test_what_stage_one_fails_on_is_unavailable(url: str) -> None:
    """What serving's framework answers to a defect; the connection is of use to the next call."""
    scorer = HttpScorer(url, timeout=5)
    with pytest.raises(Unavailable, match="has no stage one"):
        asked(scorer, lambda: scorer.retrieve("tiny", {}, NOON))


@pytest.mark.parametrize("system", ["other", "never heard of/../ it\r\n"])
def test_without_a_champion_it_says_so(scorer: Scorer, system: str) -> None:
    with pytest.raises(NoChampion):
        call(scorer, system, rows(1))


def test_rows_that_lie_otherwise_in_memory_are_scored_alike(url: str) -> None:
    turned = np.asfortranarray(rows(10).astype(np.float64))
    scored = call(HttpScorer(url, timeout=5), "tiny", turned)  # type: ignore[arg-type]  # float64
    np.testing.assert_allclose(scored.scores, truth(1, rows(10)), atol=1e-6)


def test_another_number_of_features_is_said_in_servings_words(url: str) -> None:
    with pytest.raises(Unavailable, match="takes 3 features a row, not 4"):
        call(HttpScorer(url, timeout=5), "tiny", rows(1, 4))


def test_concurrent_calls_each_get_their_own_scores(url: str) -> None:
    async def all_at_once() -> None:
        scorer = HttpScorer(url, timeout=10)
        counts = [1 + i % 50 for i in range(400)]
        answers = await asyncio.gather(*(scorer.score("tiny", rows(count)) for count in counts))
        for count, answer in zip(counts, answers, strict=True):
            np.testing.assert_allclose(answer.scores, truth(1, rows(count)), atol=1e-6)
        await scorer.aclose()
        await asyncio.sleep(0)

    asyncio.run(all_at_once())


def test_nobody_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(Unavailable, match=f"Serving at http://127.0.0.1:{port} cannot be reached"):
        call(HttpScorer(f"http://127.0.0.1:{port}", timeout=1), "tiny", rows(1))


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(SetupError, match="should look like http://"):
        HttpScorer("https://127.0.0.1")


def test_a_call_ends_in_time_and_its_late_answer_meets_no_other_call() -> None:
    """The answer to the call that timed out is sent later; whoever calls next must not be given it."""

    async def slow_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await a_request(reader):
            served.append(len(served))
            await asyncio.sleep(0.3 if served == [0] else 0)
            answer(writer, [float(len(served))])

    async def check(port: int) -> None:
        scorer = HttpScorer(f"http://127.0.0.1:{port}", timeout=0.1)
        with pytest.raises(Unavailable, match=r"did not answer in time"):
            await scorer.score("tiny", rows(1))
        for expected in (2.0, 3.0, 4.0):
            assert (await scorer.score("tiny", rows(1))).scores.tolist() == [expected]
            await asyncio.sleep(0.15)
        await scorer.aclose()

    served: list[int] = []
    against(slow_first, check)


def test_calls_one_after_another_share_a_connection() -> None:
    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while await a_request(reader):
            answer(writer, [float(len(connections))])

    async def check(port: int) -> None:
        scorer = HttpScorer(f"http://127.0.0.1:{port}", timeout=5)
        for _ in range(5):
            assert (await scorer.score("tiny", rows(1))).scores.tolist() == [1.0]
        await scorer.aclose()

    connections: list[asyncio.StreamWriter] = []
    against(kept, check)


def test_a_cancelled_calls_connection_is_never_used_again() -> None:
    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while await a_request(reader):
            await asyncio.sleep(0.05)
            answer(writer, [float(len(connections))])

    async def check(port: int) -> None:
        scorer = HttpScorer(f"http://127.0.0.1:{port}", timeout=5)
        assert (await scorer.score("tiny", rows(1))).scores.tolist() == [1.0]
        call = asyncio.create_task(scorer.score("tiny", rows(1)))
        await asyncio.sleep(0.02)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await scorer.score("tiny", rows(1))).scores.tolist() == [2.0]
        await scorer.aclose()

    connections: list[asyncio.StreamWriter] = []
    against(waits, check)


def test_a_kept_connection_that_serving_closed_costs_no_call() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await a_request(reader)
        answer(writer, [0.5])  # and closes, which the client learns only when it writes again

    async def check(port: int) -> None:
        scorer = HttpScorer(f"http://127.0.0.1:{port}", timeout=5)
        for _ in range(20):
            assert (await scorer.score("tiny", rows(1))).scores.tolist() == [0.5]
        await scorer.aclose()

    against(once, check)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-Model-Version: 1\r\n\r\n1234",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_unavailable(nonsense: bytes) -> None:
    async def speaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await a_request(reader)
        writer.write(nonsense)

    async def check(port: int) -> None:
        scorer = HttpScorer(f"http://127.0.0.1:{port}", timeout=2)
        with pytest.raises(Unavailable):
            await scorer.score("tiny", rows(1))
        await scorer.aclose()

    against(speaks, check)


def asked(scorer: Scorer, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """What one call gives, in an event loop of its own."""

    async def once() -> Answer:
        try:
            return await ask()
        finally:
            if isinstance(scorer, HttpScorer):
                await scorer.aclose()
                await asyncio.sleep(0)  # the transports close in the loop's next turn

    return asyncio.run(once())


def call(scorer: Scorer, system: str, features: Matrix, explain: bool = False) -> Scored:
    return asked(scorer, lambda: scorer.score(system, features, explain=explain))


def against(serve: Serve, check: Callable[[int], Awaitable[None]]) -> None:
    """Run `check` against a server whose every connection is `serve`."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    async def both() -> None:
        server = await asyncio.start_server(closing, "127.0.0.1", 0)
        try:
            await check(server.sockets[0].getsockname()[1])
            await asyncio.sleep(0.01)  # the transports close in the loop's next turns
        finally:
            server.close()

    asyncio.run(both())


async def a_request(reader: asyncio.StreamReader) -> bool:
    try:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(12)
    except (asyncio.IncompleteReadError, ConnectionError):
        return False
    return True


def answer(writer: asyncio.StreamWriter, scores: list[float]) -> None:
    body = struct.pack(f"<{len(scores)}d", *scores)
    head = f"HTTP/1.1 200 OK\r\nX-Model-Version: 1\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
