"""`flywheel simulate` without end: it tells how it does, changes its world, and ends with its account when told to."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from infra.settings import ROOT, Settings, machine_environ
from tests.conftest import poll
from tests.loop.conftest import Living

LINE = re.compile(r"([\d,]+) answered, \d+ failed, [\d,]+ outcomes, p50 \d+ ms, p99 \d+ ms; lately .*version \d+; the")


def command(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("flywheel")), "simulate", "ad_click", *words]


def environ(settings: Settings) -> dict[str, str]:
    return machine_environ() | settings.environ()


def test_clients_without_end_tell_how_they_do_and_end_when_they_are_told_to(living: Living, tmp_path: Path) -> None:
    said = tmp_path / "said"
    words = ("--forever", "--rate", "20", "--drift", "concept", "--drift-every", "0.05")
    with said.open("w") as out:
        clients = subprocess.Popen(command(*words), env=environ(living.settings), cwd=ROOT, stdout=out, stderr=out)
    try:
        poll(lambda: LINE.search(said.read_text()), 40, "a line")
        clients.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert clients.wait(15) == 0, said.read_text()
    finally:
        clients.kill()
        clients.wait()
    assert time.monotonic() - began < 8
    assert "ad_click: the world changed: it is under concept drift of strength 1." in said.read_text()
    assert "ad_click: the world changed: it is calm." in said.read_text()
    answered = re.search(r"predictions acknowledged +│ ([\d,]+)", said.read_text())
    assert answered
    assert int(answered[1].replace(",", "")) > 50


def test_a_refused_key_is_said_with_status_1(living: Living, settings: Settings) -> None:
    stranger = settings.model_copy(update={"gateway_url": living.settings.gateway})
    done = subprocess.run(
        command("--forever"), env=environ(stranger), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "`flywheel key` prints the key" in done.stderr
