"""What requests wait for goes first: processes of the stack yield to others also where Linux weighs whole sessions."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra import launch, processes
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


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel weighs no sessions")
def test_it_counts_as_idle_where_its_session_is_what_is_weighed(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    yielding = os.SCHED_IDLE if launch._sessions_are_weighed() else os.SCHED_OTHER
    assert os.sched_getscheduler(spawned(tmp_path, 7, started)) == yielding
    assert os.sched_getscheduler(spawned(tmp_path, 0, started)) == os.SCHED_OTHER


@pytest.mark.parametrize(
    ("enabled", "groups", "weighed"),
    [
        ("1", "0::/\n", True),
        ("1", "1:cpu,cpuacct:/\n9:name=systemd:/user.slice\n0::/\n", True),
        ("0", "0::/\n", False),
        ("1", "1:cpuacct,cpu:/docker/1234\n0::/\n", False),
        ("1", "0::/user.slice\n", True),
        ("1", "0::/box\n", False),
    ],
    ids=["the root", "older groups", "turned off", "a group of its own", "without a weight", "with a weight"],
)
def test_sessions_are_weighed_outside_of_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enabled: str, groups: str, weighed: bool
) -> None:
    for name, content in (("AUTOGROUPS", enabled), ("CGROUP", groups)):
        (tmp_path / name).write_text(content)
        monkeypatch.setattr(launch, name, str(tmp_path / name))
    monkeypatch.setattr(launch, "GROUPS", str(tmp_path))
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "cpu.weight").write_text("100\n")
    assert launch._sessions_are_weighed() == weighed


def test_a_flow_run_is_in_the_runners_session_and_in_a_group_of_its_own(tmp_path: Path) -> None:
    flows = FlowProcesses(tmp_path)
    flows.start("00000000-0000-0000-0000-000000000000")
    pid = flows.running["00000000-0000-0000-0000-000000000000"].pid
    try:
        assert os.getsid(pid) == os.getsid(0)
        assert os.getpgid(pid) == pid
    finally:
        flows.end_all()
