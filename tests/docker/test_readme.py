"""The README's commands of Docker, run as they stand there, on this stack."""

import shlex

import pytest

from tests.docker.conftest import Stack
from tests.loop.test_readme import commands, of_docker

DOWN = "docker compose down"  # tests/docker/test_restart.py does that, and looks at what is there afterwards

JUDGED = (0, 1, 3)  # held, broken, and too busy here to tell


@pytest.mark.parametrize("line", [line for line in commands() if of_docker(line) and line != DOWN])
def test_a_command_of_the_readme_does_what_it_says(stack: Stack, line: str) -> None:
    words = shlex.split(line)
    assert words[:2] == ["docker", "compose"]
    try:
        done = stack.containers.attempt(*words[2:])
    finally:
        stack.containers.compose("--profile", "demo", "rm", "--stop", "--force", "clients")
    if "loadtest" in words:  # its status is its verdict, which on a machine that does all this at once may be no
        assert done.returncode in JUDGED, done.stdout + done.stderr
        assert "p99 latency" in done.stdout
    elif "retrain" in words and done.returncode == 1:  # the gate may refuse what the other tests' worlds have taught it
        assert "is refused" in done.stderr, done.stdout + done.stderr
    else:
        assert done.returncode == 0, done.stdout + done.stderr
    if "key" in words:
        assert done.stdout.strip() == stack.containers.settings.secret("api_key")


def test_the_readme_says_how_to_take_it_down() -> None:
    assert DOWN in commands()
