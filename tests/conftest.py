"""What every test may use: settings of its own (a folder in tmp_path, free ports) and a real Redis server."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from infra import redis_server
from infra.settings import Settings

PORTS = [name for name in Settings.model_fields if name.endswith("_port")]


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now; all are held until the last is known, so that no two are the same."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def settings_in(folder: Path) -> Settings:
    """Settings of a stack that lives in `folder` and collides with no other."""
    return Settings.model_validate({"state_dir": folder, **dict(zip(PORTS, free_ports(len(PORTS)), strict=True))})


def poll(check, seconds: float = 10.0, what: str = "the condition"):  # type: ignore[no-untyped-def]  # any check, its value
    """The first true value of `check()` within the deadline; else the test fails, saying what it waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := check():
            return value
        time.sleep(0.02)
    pytest.fail(f"{what} did not come about within {seconds} s")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "state")


@pytest.fixture(scope="session")
def redis_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings with a running Redis server, one for the whole session."""
    settings = settings_in(tmp_path_factory.mktemp("redis"))
    with subprocess.Popen(redis_server.command(settings), stdout=subprocess.DEVNULL) as server:
        try:
            poll(lambda: answers(settings.redis), what="Redis")
            yield settings
        finally:
            server.terminate()


def answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture
def empty_redis(redis_settings: Settings) -> Settings:
    """The session's Redis server, emptied."""
    with redis.Redis.from_url(redis_settings.redis) as client:
        client.flushall()
    return redis_settings
