"""The probe against real servers, and against sockets that hang, drip, refuse or say something else."""

import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis

from contracts.errors import SetupError
from infra import redis_server
from infra.probe import SSL_REQUEST, Probe, Target, serving, targets_of
from infra.settings import ROOT, Settings
from tests.conftest import free_ports, poll


@contextmanager
def answering(*parts: bytes, pause: float = 0.0) -> Iterator[tuple[int, list[bytes]]]:
    """A server's port, and what it was sent: it answers what it gets with `parts`, with pauses; without any, never."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk(connection: socket.socket) -> None:
            with connection:
                heard.append(connection.recv(1024))
                try:
                    for part in parts:
                        connection.sendall(part)
                        time.sleep(pause)
                    connection.recv(1024)  # until the caller has gone
                except OSError:
                    return

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server.getsockname()[1], heard
        finally:
            server.shutdown(socket.SHUT_RDWR)


def fault(url: str, timeout: float = 2.0) -> str:
    return Probe([Target("part", url)], timeout).check()["part"].fault


def test_a_redis_that_wants_a_password_is_up(redis_settings: Settings) -> None:
    host, port = redis_settings.host, redis_settings.redis_port
    assert fault(f"redis://{host}:{port}") == ""


def test_a_redis_without_a_password_is_up_once_its_data_is_loaded(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"redis://127.0.0.1:{port}"
    arguments = [str(redis_server.executable()), "--port", str(port), "--dir", str(tmp_path), "--save", ""]
    arguments += ["--rdbcompression", "no"]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as server:
        poll(lambda: not fault(url), what="Redis")
        with redis.Redis.from_url(url) as client:
            for number in range(50):
                client.set(f"key {number}", "x" * 200_000)
            client.save()
        server.terminate()
    slowly = ["--key-load-delay", "100000"]  # µs a key: 5 s in all; after each 2 MB it answers who asked meanwhile
    with subprocess.Popen([*arguments, *slowly], stdout=subprocess.DEVNULL) as server:
        poll(lambda: fault(url).startswith("answered PING with '-LOADING"), what="a Redis that loads its data")
        server.kill()


@pytest.mark.parametrize("answer", [b"S", b"N"])
def test_a_postgresql_answers_an_ssl_request_by_one_byte(answer: bytes) -> None:
    with answering(answer) as (port, heard):
        assert fault(f"postgresql://127.0.0.1:{port}") == ""
    assert heard == [SSL_REQUEST] == [bytes.fromhex("00000008 04d2162f")]


def test_what_answers_otherwise_is_down() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (port, _):
        assert "HTTP/1.1 400" in fault(f"postgresql://127.0.0.1:{port}")
        assert "HTTP/1.1 400" in fault(f"redis://127.0.0.1:{port}")
        assert fault(f"http://127.0.0.1:{port}/health") == "/health answers 400"


def test_http_answers_2xx() -> None:
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, heard):
        assert fault(f"http://127.0.0.1:{port}/api/ready?deep=1") == ""
    assert heard[0].startswith(b"GET /api/ready?deep=1 HTTP/1.1\r\n")


def test_nobody_there_is_down_with_its_reason() -> None:
    (port,) = free_ports(1)
    for scheme in ("redis", "postgresql", "http"):
        assert "refused" in fault(f"{scheme}://127.0.0.1:{port}").lower()
    assert fault("redis://no-such-host.invalid:6379")


def test_targets_that_hang_or_drip_hold_up_nobody_and_not_each_other() -> None:
    dripping = [b"HTTP/1.1 ", *[b"2"] * 100]
    with (
        answering() as (mute, _),
        answering(*dripping, pause=0.1) as (slow, _),
        answering(b"N") as (well, _),
    ):
        targets = [Target(f"mute-{each}", f"{each}://127.0.0.1:{mute}") for each in ("redis", "postgresql", "http")]
        targets += [Target("slow", f"http://127.0.0.1:{slow}/"), Target("well", f"postgresql://127.0.0.1:{well}")]
        probe = Probe(targets, timeout=0.5)
        for _ in range(3):
            started = time.monotonic()
            found = probe.check()
            assert time.monotonic() - started < 1.5
            assert [name for name, each in found.items() if not each.fault] == ["well"]
            assert found["slow"].fault == found["mute-redis"].fault == "did not answer within 0.5 s"


def test_a_target_that_hangs_has_one_question_under_way_however_often_it_is_looked_at() -> None:
    with answering(b"HTTP/1.1 ", *[b"2"] * 100, pause=0.1) as (port, heard):
        probe = Probe([Target("slow", f"http://127.0.0.1:{port}/")], timeout=0.3)
        with ThreadPoolExecutor(4) as callers:
            looks = [callers.submit(probe.check) for _ in range(8)]
        assert all(look.result()["slow"].fault for look in looks)
        assert len(heard) == 1


def test_a_change_is_told_once_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "flywheel.probe")
    (port,) = free_ports(1)
    probe = Probe([Target("postgres", f"postgresql://127.0.0.1:{port}")])
    probe.check()
    probe.check()
    with socket.create_server(("127.0.0.1", port)) as server, ThreadPoolExecutor(1) as other:
        checked = other.submit(probe.check)
        with server.accept()[0] as connection:
            connection.sendall(b"N")
            checked.result()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0].startswith("postgres: ")
    assert told[1] == "postgres: up again"


def test_what_is_written_becomes_targets() -> None:
    written = " redis=redis://features-redis:6379, mlflow=http://mlflow:5000/search?max_results=1 ,"
    assert targets_of(written) == (
        Target("redis", "redis://features-redis:6379"),
        Target("mlflow", "http://mlflow:5000/search?max_results=1"),
    )
    assert targets_of("") == ()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("redis://somewhere:6379", "holds 'redis://somewhere:6379'; each target is NAME=URL"),
        ("redis=", "holds 'redis='"),
        ("=http://a", "holds '=http://a'"),
        ("a=http://a/,a=http://b/", "names 'a' twice"),
        ("a=ftp://a:21", "places 'a' at 'ftp://a:21'; what the probe can ask is http://HOST:PORT, redis://"),
        ("a=redis://a", "places 'a' at 'redis://a'"),
        ("a=postgresql://a:five", "places 'a'"),
        ("a=http://", "places 'a'"),
    ],
)
def test_settings_that_cannot_be_used_are_one_sentence(written: str, message: str) -> None:
    with pytest.raises(SetupError, match=re.escape(message)) as caught:
        targets_of(written)
    assert "FLYWHEEL_PROBE_TARGETS" in str(caught.value)


def test_its_metrics_over_http() -> None:
    (free,) = free_ports(1)
    with answering(b"N") as (port, _):
        targets = targets_of(f"postgres=postgresql://127.0.0.1:{port},mlflow=http://127.0.0.1:{free}/health")
        with serving("127.0.0.1", 0, Probe(targets)) as own, httpx.Client() as client:
            answer = client.get(f"http://127.0.0.1:{own}/metrics")
            assert client.get(f"http://127.0.0.1:{own}/healthz").text == "ok\n"
            assert client.get(f"http://127.0.0.1:{own}/elsewhere").status_code == 404
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'flywheel_component_up{component="postgres"} 1.0' in answer.text
    assert 'flywheel_component_up{component="mlflow"} 0.0' in answer.text
    assert re.search(r'flywheel_component_probe_seconds{component="postgres"} 0\.\d+', answer.text)


def test_it_is_alive_while_what_it_looks_at_hangs() -> None:
    with answering() as (mute, _):
        probe = Probe([Target("mute", f"redis://127.0.0.1:{mute}")], timeout=1.0)
        with serving("127.0.0.1", 0, probe) as own, ThreadPoolExecutor(1) as other:
            metrics = other.submit(httpx.get, f"http://127.0.0.1:{own}/metrics")
            assert httpx.get(f"http://127.0.0.1:{own}/healthz", timeout=0.9).status_code == 200
            assert 'flywheel_component_up{component="mute"} 0.0' in metrics.result().text


def test_a_taken_port_is_one_sentence_that_says_what_to_do() -> None:
    with (
        serving("127.0.0.1", 0, Probe([])) as port,
        pytest.raises(SetupError, match=f"127.0.0.1:{port}.*FLYWHEEL_PROBE_PORT"),
        serving("127.0.0.1", port, Probe([])),
    ):
        pass


def test_as_a_process_it_ends_on_sigterm_though_a_target_hangs(settings: Settings) -> None:
    with answering() as (mute, _):
        given = settings.model_copy(update={"probe_targets": f"mute=redis://127.0.0.1:{mute}"})
        command = [sys.executable, "-m", "infra.probe"]
        with subprocess.Popen(command, cwd=ROOT, env=given.environ(), stderr=subprocess.DEVNULL) as process:
            url = f"http://{settings.host}:{settings.probe_port}"
            poll(lambda: answers(f"{url}/healthz"), 30, "the probe")
            threading.Thread(target=answers, args=(f"{url}/metrics",), daemon=True).start()
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0


def test_what_keeps_it_from_starting_is_one_sentence(settings: Settings) -> None:
    given = settings.model_copy(update={"probe_targets": "nonsense"})
    command = [sys.executable, "-m", "infra.probe"]
    ended = subprocess.run(command, cwd=ROOT, env=given.environ(), capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert "FLYWHEEL_PROBE_TARGETS holds 'nonsense'" in ended.stderr
    assert "Traceback" not in ended.stderr


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False
