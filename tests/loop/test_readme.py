"""The README's commands, run as they stand there; one that is shown and not run fails the test."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from infra import wiring
from infra.settings import ROOT, Settings, machine_environ
from tests.conftest import settings_in

BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
ELSEWHERE = {
    "make demo": "tests/loop/test_demo.py runs what the target runs",
    "make test": "it is what runs this test",
    "make docker-test": "it runs tests/docker/test_readme.py, which runs the commands of Docker",
    ". .venv/bin/activate": "the test puts that folder on the PATH",
}


def commands() -> list[str]:
    text = "\n".join(BLOCK.findall((ROOT / "README.md").read_text())).replace("\\\n", " ")
    joined = re.sub(r"\n {4,}", " ", text)
    return [re.sub(r"\s+#.*$", "", line[2:]) for line in joined.splitlines() if line.startswith("$ ")]


def of_docker(line: str) -> bool:
    return line.startswith("docker ")


def test_the_make_targets_run_what_the_readme_says() -> None:
    for target, what in (("demo", "flywheel demo"), ("test", "python -m pytest"), ("docker-test", "tests/docker")):
        planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert what in planned


def test_every_command_is_run_here_or_known_to_run_elsewhere() -> None:
    here = ("flywheel", "curl")
    assert {line for line in commands() if not line.startswith(here) and not of_docker(line)} == set(ELSEWHERE)


@pytest.mark.timeout(600)
def test_the_commands_do_what_they_say(tmp_path: Path) -> None:
    own = tmp_path / "systems"  # where `flywheel new` puts a system: not into the checkout
    own.mkdir()
    settings = settings_in(tmp_path / "state").model_copy(update={"systems_dir": own})
    environ = machine_environ() | settings.environ()
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    stop = next(line for line in commands() if line == "flywheel down")
    prediction_id = ""
    try:
        for line in [one for one in commands() if one not in (*ELSEWHERE, stop) and not of_docker(one)]:
            shown = line.replace("PREDICTION_ID", prediction_id).replace("127.0.0.1:8080", settings.gateway[7:])
            done = subprocess.run(
                ["bash", "-c", shown], env=environ, cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{shown}\n{done.stdout}\n{done.stderr}"
            if found := re.search(r'"prediction_id":\s*"([^"]+)"', done.stdout):
                prediction_id = found[1]
        assert prediction_id
        assert (own / "parcel_returns" / "task.py").exists()
    finally:
        ended = subprocess.run(shlex.split(stop), env=environ, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert not wiring.stack(Settings.model_validate(settings.model_dump())).running()
