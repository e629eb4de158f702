"""What every test may use: settings of its own (a folder in tmp_path, free ports), a real Redis server, a database."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import prometheus_client  # noqa: F401  # before Feast, whose import sets a variable that makes all counters shared ones
import pytest
import redis

from benchmarks.isolated import free_ports, settings_in
from infra import redis_server
from infra.settings import Settings
from tests import servers

__all__ = ["free_ports", "settings_in"]  # for all tests
SERVERS = pytest.StashKey[servers.Servers]()


def pytest_addoption(parser: pytest.Parser) -> None:
    servers.add_options(parser)


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[SERVERS] = servers.asked_for(session.config)


def pytest_report_header(config: pytest.Config) -> str:
    return f"stores: {servers.described(config.stash[SERVERS])}"


def poll(check, seconds: float = 10.0, what: str = "the condition"):  # type: ignore[no-untyped-def]  # any check, its value
    """The first true value of `check()` within the deadline; else the test fails, saying what it waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := check():
            return value
        time.sleep(0.02)
    pytest.fail(f"{what} did not come about within {seconds} s")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Children that tests interrupt inherit a Ctrl-C that works, also where pytest was started with it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "state")


@pytest.fixture(scope="session")
def redis_settings(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings with running Redis servers: those that pytest was told of, and an embedded one for what it was not."""
    told = pytestconfig.stash[SERVERS]
    urls = {"redis_url": told.redis, "log_redis_url": told.log_redis}
    settings = settings_in(tmp_path_factory.mktemp("redis")).model_copy(update=urls)
    try:
        with nullcontext() if told.redis else running(settings):
            yield settings
    finally:
        for url in told.redises:
            empty(url)


@contextmanager
def running(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A Redis server of these settings alone, with what it wrote before: up in the block, gone after it."""
    with subprocess.Popen(redis_server.command(settings), stdout=subprocess.DEVNULL) as server:
        try:
            poll(lambda: answers(settings.redis), what="Redis")
            yield server
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def new_database(pytestconfig: pytest.Config) -> Iterator[Callable[[str], str]]:
    """Makes an empty database for a `*_database_url` setting; see tests/servers.py."""
    with servers.databases(pytestconfig.stash[SERVERS]) as make:
        yield make


def answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def empty(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()


@pytest.fixture
def empty_redis(redis_settings: Settings) -> Settings:
    """The session's Redis servers, the features' and the log's, emptied."""
    for url in {redis_settings.redis, redis_settings.log_redis}:
        empty(url)
    return redis_settings
