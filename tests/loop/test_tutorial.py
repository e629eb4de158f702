"""The tutorial's commands and edits, carried out in its order, in one shell, as its reader would."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra import wiring
from infra.settings import ROOT, Settings, machine_environ
from tests.conftest import settings_in

BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ELSEWHERE = ("$ . .venv/bin/activate\n",)  # the test puts that folder on the PATH
ENDED = "the command ended with"


@dataclass(frozen=True)
class Block:
    """A block of the document: its language, the file that it is about, and its text."""

    language: str
    file: str
    text: str


def blocks() -> list[Block]:
    return [Block(*found) for found in BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text())]


def commands(block: Block) -> list[str]:
    """A line that begins with `$ ` begins a command; the lines after it are its here-document."""
    return [each for each in re.split(r"^\$ ", block.text, flags=re.MULTILINE) if each and f"$ {each}" not in ELSEWHERE]


class Shell:
    """One bash, told its commands one by one."""

    def __init__(self, bash: subprocess.Popen[str]) -> None:
        self.bash = bash

    def run(self, command: str) -> str:
        """What a command says; the test fails when it fails."""
        assert self.bash.stdin is not None
        assert self.bash.stdout is not None
        self.bash.stdin.write(f"{command}\necho; echo {ENDED} $?\n")
        self.bash.stdin.flush()
        said = []
        for line in self.bash.stdout:
            if line.startswith(ENDED):
                assert line.split()[-1] == "0", f"{command}\n{''.join(said)}"
                print(f"$ {command}{''.join(said)}")  # shown when the test fails
                return "".join(said)
            said.append(line)
        pytest.fail(f"The shell ended in:\n{command}\n{''.join(said)}")


@contextmanager
def shell(home: Path, settings: Settings) -> Iterator[Shell]:
    environ = machine_environ() | settings.environ() | {"HOME": str(home), "COLUMNS": "200"}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    with subprocess.Popen(
        ["bash"],
        env=environ,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as bash:
        try:
            yield Shell(bash)
        finally:
            bash.terminate()
            subprocess.run(["flywheel", "down"], env=environ, check=False, capture_output=True)


def carry_out(block: Block, within: Shell, folder: Path, settings: Settings) -> str:
    """What a block of the document says to do; what its commands said."""
    if block.language == "console":
        here = [each.replace("127.0.0.1:8080", settings.gateway[7:]) for each in commands(block)]
        return "".join(within.run(command) for command in here)
    assert block.language in ("diff", "toml"), block
    if block.language == "toml":
        (folder / block.file).write_text(block.text)
        return ""
    path = folder / block.file
    old, new = (
        "".join(f"{line[1:]}\n" for line in block.text.splitlines() if line.startswith(sign)) for sign in ("-", "+")
    )
    assert path.read_text().count(old) == 1, f"{block.file} does not hold what the tutorial changes:\n{old}"
    path.write_text(path.read_text().replace(old, new))
    return ""


def test_every_block_of_the_tutorial_is_one_that_is_carried_out() -> None:
    assert {block.language for block in blocks()} == {"console", "diff", "toml"}
    fences = re.findall(r"^```", (ROOT / "docs" / "tutorial.md").read_text(), re.MULTILINE)
    assert len(fences) == 2 * len(blocks())


@pytest.mark.timeout(900)
def test_the_tutorial_leads_from_nothing_to_a_served_and_monitored_system(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "state")
    with shell(tmp_path, settings) as within:
        said = "\n".join(carry_out(block, within, tmp_path / "couriers", settings) for block in blocks())
    assert "12,000 appended, 0 there already, none rejected" in said
    assert "0 appended, 12,000 there already, none rejected" in said
    assert "late_deliveries version 1 is champion" in said
    assert '"variant":"champion"' in said
    assert "rate_7d" in said
    assert "quality inconclusive" in said
    assert not wiring.stack(settings).running()
    assert not (ROOT / "systems" / "late_deliveries").exists()
