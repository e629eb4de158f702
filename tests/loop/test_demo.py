"""`flywheel demo` closes the loop, says so with its exit status, and leaves nothing running."""

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import systems
from infra.settings import ROOT, machine_environ
from tests.conftest import settings_in

GAP = re.compile(r"(?:before drift|under drift|after retraining).*?(-?\d\.\d{3}) │ +[\d,]+ │$", re.MULTILINE)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("system", systems.names())
def test_the_whole_loop_goes_round_with_every_system(system: str, tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "state")
    command = [Path(sys.executable).with_name("flywheel"), "demo", system, "--stop", "--rows", "200000"]
    environ = machine_environ() | settings.environ()
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "The loop closed." in " ".join(done.stdout.split())  # wherever the line was broken
    before, under, after = (float(gap) for gap in GAP.findall(done.stdout))
    assert under > before
    assert after < under
    assert not [one for one in psutil.process_iter() if str(settings.state_dir) in " ".join(_cmdline(one))]


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
