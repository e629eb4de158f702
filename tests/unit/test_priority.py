"""What requests wait for goes first: processes of the stack yield to others also where Linux weighs whole sessions."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra import processes
from pipelines.flow_processes import FlowProcesses
from tests.conftest import poll

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes to end."""
    running: list[subprocess.Popen[bytes]] = []
    yield running
    for process in running:
        process.kill()
        process.wait()


def spawned(tmp_path: Path, nice: int, started: list[subprocess.Popen[bytes]]) -> int:
    log = tmp_path / f"{nice}.log"
    started.append(processes.spawn(SLEEP, os.environ, log, nice))
    poll(lambda: "up" in log.read_text(), what="the program")
    return started[-1].pid


def session_nice(pid: int) -> int:
    return int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])


def test_a_program_yields_as_it_was_told(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    usual = psutil.Process().nice()
    assert psutil.Process(spawned(tmp_path, 7, started)).nice() == min(19, usual + 7)
    assert psutil.Process(spawned(tmp_path, 0, started)).nice() == usual


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel weighs no sessions")
def test_its_session_yields_too(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    assert session_nice(spawned(tmp_path, 7, started)) == 7
    assert session_nice(spawned(tmp_path, 0, started)) == 0


def test_a_flow_run_is_in_the_runners_session_and_in_a_group_of_its_own(tmp_path: Path) -> None:
    flows = FlowProcesses(tmp_path)
    flows.start("00000000-0000-0000-0000-000000000000")
    pid = flows.running["00000000-0000-0000-0000-000000000000"].pid
    try:
        assert os.getsid(pid) == os.getsid(0)
        assert os.getpgid(pid) == pid
    finally:
        flows.end_all()
