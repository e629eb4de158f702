"""The command line as its user meets it: real processes, their output and their exit status."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from infra import cli
from infra.settings import ROOT, Settings, machine_environ
from infra.stack import Stack
from tests.conftest import poll

FLYWHEEL = (sys.executable, "-m", "infra.cli")


def flywheel(*words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FLYWHEEL, *words],
        env=machine_environ() | (environ or {}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def listener(port: int) -> Iterator[str]:
    """Somebody else's server on a port: this test's own process, by its name."""
    with socket.create_server(("127.0.0.1", port)):
        yield psutil.Process().name()


def test_help_lists_every_command_with_its_line_and_is_fast() -> None:
    flywheel("--help")  # compiles what is new
    began = time.monotonic()
    shown = flywheel("--help", environ={"COLUMNS": "160"})
    seconds = time.monotonic() - began
    assert shown.returncode == 0
    for commands in cli.PANELS.values():
        for name, (_, summary) in commands.items():
            assert name in shown.stdout
            assert summary in shown.stdout
    assert seconds < 1.5  # 0.25 s when the machine is idle; with a vendor imported it would be seconds


def test_help_imports_no_command() -> None:
    code = "import sys; from infra import cli; cli.application(['--help']); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.split())
    assert not loaded & {
        "infra.commands",
        "services",
        "pipelines",
        "monitoring",
        "mlflow",
        "prefect",
        "pandas",
        "redis",
    }


def test_a_refusal_is_one_sentence_on_standard_error_and_status_1(settings: Settings) -> None:
    refused = flywheel("status", environ=settings.environ())
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr == f"No stack runs from {settings.state_dir}; start one with `flywheel up`.\n"


def test_a_misspelt_setting_is_refused() -> None:
    refused = flywheel("key", environ={"FLYWHEEL_PROT": "1"})
    assert refused.returncode == 1
    assert refused.stderr.startswith("FLYWHEEL_PROT is not a setting;")


def test_an_unknown_command_is_refused_with_status_2() -> None:
    refused = flywheel("trian")
    assert refused.returncode == 2
    assert "trian" in refused.stderr


def test_status_for_programs_is_json_also_when_nothing_runs(settings: Settings) -> None:
    shown = flywheel("status", "--json", environ=settings.environ())
    assert (shown.returncode, shown.stdout) == (1, "[]\n")


def test_down_of_nothing_is_well(settings: Settings) -> None:
    shown = flywheel("down", environ=settings.environ())
    assert shown.returncode == 0
    assert "No stack was running" in shown.stdout


def test_key_prints_the_gateways_key(settings: Settings) -> None:
    assert flywheel("key", environ=settings.environ()).stdout == settings.secret("api_key") + "\n"


def test_doctor_names_who_holds_a_port_and_how_to_move(settings: Settings) -> None:
    with listener(settings.gateway_port):
        seen = flywheel("doctor", environ=settings.environ())
    assert seen.returncode == 1
    assert f"Port {settings.gateway_port}, which gateway needs, is taken by" in seen.stdout
    assert "set FLYWHEEL_GATEWAY_PORT to a free port." in seen.stdout
    assert flywheel("doctor", environ=settings.environ()).returncode == 0


def test_up_says_in_one_sentence_that_a_port_is_taken(settings: Settings) -> None:
    with listener(settings.mlflow_port) as holder:
        refused = flywheel("up", "--detach", environ=settings.environ())
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Port {settings.mlflow_port}, which mlflow needs, is taken by {holder} (pid {os.getpid()}); "
        "stop that, or set FLYWHEEL_MLFLOW_PORT to a free port.\n"
    )
    assert not Stack(settings).running()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_ctrl_c_on_a_terminal_stops_everything(settings: Settings) -> None:
    """The stack is left with Redis and two parts that wait or fail, which Ctrl-C ends just as well."""
    elsewhere = {f"FLYWHEEL_{name}_URL": "http://127.0.0.1:9" for name in ("MLFLOW", "PREFECT", "SERVING", "EVIDENTLY")}
    terminal = f"import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn({[*FLYWHEEL, 'up']!r})))"
    environ = machine_environ() | settings.environ() | elsewhere | {"TERM": "xterm"}
    command = subprocess.Popen(
        [sys.executable, "-c", terminal], env=environ, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    stack = Stack(settings)
    try:
        poll(lambda: any(one.state == "healthy" for one in stack.states()), 30, "a healthy Redis")
        pids = [one.pid for one in stack.states() if one.pid]
        assert command.stdout is not None
        shown = b""
        while b"redis" not in shown:  # pytest's own timeout bounds it
            shown += os.read(command.stdout.fileno(), 4096)
        command.communicate(b"\x03", timeout=60)
    finally:
        stack.stop()
        command.kill()
        command.wait()
    assert command.returncode == 130
    assert not stack.running()
    assert pids
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
