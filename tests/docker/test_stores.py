"""The suites of the stores once more, against servers of the kinds that compose.yaml runs; Prefect on PostgreSQL."""

import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import redis

from infra.settings import ROOT, Settings
from tests.docker.conftest import MEASURED
from tests.docker.containers import Containers

FILE = ("--file", "tests/docker/stores.yaml")
REDIS_7 = r"Redis 7\.\S+ at 127\.0\.0\.1:\d+"
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two Redis servers and one PostgreSQL, as pytest is told of them; gone afterwards, whatever happens."""
    password = secrets.token_hex(16)
    settings = Settings.model_validate({"state_dir": tmp_path_factory.mktemp("stores")})
    containers = Containers(settings, {}, {"STORES_PASSWORD": password}, "flywheel-test-stores")
    containers.compose(*FILE, "down", "--volumes")  # what a run that was killed left
    try:
        containers.compose(*FILE, "up", "--detach", "--wait")
        features, log, postgres = (
            containers.compose(*FILE, "port", *name).strip()
            for name in (("features-redis", "6379"), ("log-redis", "6379"), ("postgres", "5432"))
        )
        yield [
            f"--redis-url=redis://:{password}@{features}/0",
            f"--log-redis-url=redis://:{password}@{log}/0",
            f"--postgres-url=postgresql+psycopg://flywheel:{password}@{postgres}/flywheel",
        ]
    finally:
        containers.compose(*FILE, "down", "--volumes", "--timeout", "2")


def test_the_adapters_pass_the_same_suites(servers: list[str]) -> None:
    said = passed("tests/stores", *servers)
    assert re.search(rf"^stores: {REDIS_7}, {REDIS_7}, PostgreSQL \d+", said, re.MULTILINE), said
    assert "skipped" not in said
    MEASURED["tests/stores on two Redis 7 and PostgreSQL"] = said.splitlines()[-1].strip("= ")


def test_the_dispatcher_passes_with_prefect_on_postgresql(servers: list[str]) -> None:
    said = passed("tests/loop/test_dispatcher.py", *servers)
    MEASURED["tests/loop/test_dispatcher.py with Prefect on PostgreSQL"] = said.splitlines()[-1].strip("= ")


def test_a_redis_that_holds_something_is_left_alone(servers: list[str]) -> None:
    url = servers[0].partition("=")[2]
    with redis.Redis.from_url(url) as client:
        client.set("precious", "1")
        code, said = pytest_run("tests/stores", *servers)
        assert (code, "holds 1 keys; the tests would delete them" in said) == (pytest.ExitCode.USAGE_ERROR, True), said
        assert client.getdel("precious") == b"1"


def passed(*arguments: str) -> str:
    code, said = pytest_run(*arguments)
    assert code == 0, said
    return said


def pytest_run(*arguments: str) -> tuple[int, str]:
    """Run pytest as a process of its own, which ends what it started even when this test is cut short."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            raise
        return process.returncode, said
