"""The supervisor, over small real processes: order, restarts, ends, and what is left when it is killed (nothing)."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

import psutil
import pytest

from contracts.errors import NotFound, SetupError, Unavailable
from infra import processes, supervised
from infra.settings import Settings
from infra.stack import Stack
from infra.stack_state import ComponentStatus
from tests.conftest import free_ports, poll

# A component: answers /health as the file NAME.sick lets it, keeps a grandchild in a session of its own, dies on /die.
SERVER = """
import http.server, os, pathlib, signal, subprocess, sys, time
folder, name, port, stubborn = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "stubborn"
def note(word):
    with (folder / "story").open("a") as story:
        story.write(f"{word} {name}\\n")
def end(*_):
    note("asked to end")
    if not stubborn:
        os._exit(0)
signal.signal(signal.SIGTERM, end)
note("began")
kin = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
(folder / f"{name}.kin").write_text(str(kin.pid))
(folder / f"{name}.environ").write_text("\\n".join(os.environ))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            print("the last thing it said", flush=True)
            os._exit(3)
        self.send_response(503 if (folder / f"{name}.sick").exists() else 200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
SUPERVISOR = """
import json, sys
from infra.components import Component
from infra.supervisor import main
chosen = tuple(Component(**one) for one in json.loads(sys.argv[1]))
sys.exit(main(lambda settings: chosen))
"""


class World:
    """A stack of small servers in a folder."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.components: list[dict[str, object]] = []
        self.program = folder / "server.py"
        self.program.write_text(SERVER)

    def add(self, name: str, needs: tuple[str, ...] = (), manner: str = "polite", **more: object) -> int:
        (port,) = free_ports(1)
        command = [sys.executable, str(self.program), str(self.folder), name, str(port), manner]
        health = f"http://127.0.0.1:{port}/health"
        one = {"name": name, "command": command, "health": health, "needs": needs, "port": port, **more}
        self.components.append({"setting": f"{name}_port", "stop_grace": 1.0, "url": health, **one})
        return port

    @property
    def stack(self) -> Stack:
        return Stack(self.settings, [sys.executable, "-c", SUPERVISOR, json.dumps(self.components)])

    def up(self) -> Stack:
        stack = self.stack
        stack.start()
        stack.wait_healthy(30)
        return stack

    def state(self, name: str) -> ComponentStatus:
        return next(one for one in self.stack.states() if one.name == name)

    def story(self) -> list[str]:
        return (self.folder / "story").read_text().splitlines()

    def everyone(self) -> list[int]:
        """The pids of all components and of their grandchildren in sessions of their own."""
        kin = [int(file.read_text()) for file in self.folder.glob("*.kin")]
        return kin + [one.pid for one in self.stack.states() if one.pid]


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> Iterator[World]:
    world = World(settings, tmp_path)
    yield world
    world.stack.stop()


def gone(pids: list[int]) -> bool:
    return not any(processes.alive(pid) for pid in pids)


def test_a_component_starts_once_what_it_needs_is_healthy(world: World) -> None:
    world.add("base")
    world.add("top", needs=("base",))
    (world.folder / "base.sick").touch()
    world.stack.start()
    poll(lambda: "503" in world.state("base").error, what="an unhealthy base")
    assert world.state("top").state == "waiting"
    assert world.story() == ["began base"]
    (world.folder / "base.sick").unlink()
    world.stack.wait_healthy(20)
    assert world.story() == ["began base", "began top"]


def test_stopping_goes_the_other_way_round_and_leaves_nothing(world: World) -> None:
    world.add("base")
    world.add("middle", needs=("base",))
    world.add("top", needs=("base", "middle"))
    stack, everyone = world.up(), world.everyone()
    assert len(everyone) == 6
    stack.stop()
    assert gone(everyone)
    assert world.story()[3:] == ["asked to end top", "asked to end middle", "asked to end base"]
    assert not stack.running()
    assert stack.status() == ()


def test_what_does_not_end_when_asked_is_killed(world: World) -> None:
    world.add("mule", manner="stubborn")
    stack, everyone = world.up(), world.everyone()
    stack.stop()
    assert "asked to end mule" in world.story()
    assert gone(everyone)


def test_one_that_dies_is_started_again_and_counted(world: World) -> None:
    port = world.add("server")
    stack = world.up()
    first, kin = world.state("server"), world.everyone()
    _get(port, "/die")
    poll(lambda: world.state("server").state == "backoff", what="backoff")
    assert world.state("server").error == "ended with status 3: the last thing it said"
    stack.wait_healthy(20)
    second = world.state("server")
    assert second.pid != first.pid
    assert second.restarts == 1
    assert gone(kin)


def test_one_that_dies_again_and_again_waits_longer_each_time(world: World) -> None:
    world.components.append({"name": "broken", "command": ["false"], "health": "http://127.0.0.1:9/"})
    world.stack.start()
    poll(lambda: world.state("broken").restarts >= 2, 20, "two restarts")
    assert world.state("broken").error == "ended with status 1"
    began = time.monotonic()
    poll(lambda: world.state("broken").restarts >= 3, 20, "a third")
    assert time.monotonic() - began > supervised.FIRST_DELAY * 4


def test_a_program_that_is_not_there_is_told_by_its_log(world: World) -> None:
    world.components.append({"name": "ghost", "command": ["/no/such/program"], "health": "http://127.0.0.1:9/"})
    stack = world.stack
    stack.start()
    with pytest.raises(Unavailable, match=r"ghost \(.*/no/such/program cannot be started: No such file"):
        stack.wait_healthy(2)


def test_one_that_hangs_is_started_again(world: World) -> None:
    world.add("server", hang_grace=0.5)
    stack = world.up()
    first = world.state("server")
    (world.folder / "server.sick").touch()
    poll(lambda: world.state("server").state == "unhealthy", what="unhealthy")
    poll(lambda: world.state("server").state == "backoff", what="backoff")
    assert world.state("server").error == "not healthy for 0.5 s: /health answers 503"
    (world.folder / "server.sick").unlink()
    stack.wait_healthy(20)
    assert world.state("server").pid != first.pid


def test_a_component_is_restarted_on_request(world: World) -> None:
    world.add("one")
    world.add("two")
    stack = world.up()
    before = {state.name: state.pid for state in stack.states()}
    stack.restart("one")
    poll(lambda: world.state("one").restarts == 1, what="a restart")
    stack.wait_healthy(20)
    assert world.state("one").pid != before["one"]
    assert world.state("two").pid == before["two"]
    with pytest.raises(NotFound, match=r"No component named 'three' runs. Known: one, two"):
        stack.restart("three")


def test_after_kill_9_of_the_supervisor_nothing_is_left_and_the_next_start_works(world: World) -> None:
    world.add("base")
    world.add("top", needs=("base",), manner="stubborn")
    stack, everyone = world.up(), world.everyone()
    os.kill(_supervisor(world.settings), signal.SIGKILL)
    poll(lambda: gone(everyone), 30, "the end of the stack")
    assert not stack.running()
    assert stack.states() == ()
    world.up()
    assert not set(everyone) & set(world.everyone())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_after_kill_9_of_supervisor_and_warden_the_next_start_ends_the_rest(world: World) -> None:
    world.add("polite")
    world.up()
    (leader,) = (one.pid for one in world.stack.states() if one.pid)
    (kin,) = set(world.everyone()) - {leader}
    supervisor = _supervisor(world.settings)
    warden = next(p for p in psutil.Process(supervisor).children() if p.pid != leader)
    os.kill(warden.pid, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)
    poll(lambda: gone([leader]), what="the end of the component, by the kernel's word")
    assert not gone([kin])  # in a session of its own, with nobody left to end it …
    world.up()
    assert gone([kin])  # … until now


def test_a_second_start_is_refused_in_one_sentence(world: World) -> None:
    world.add("server")
    stack = world.up()
    before = stack.states()[0].pid
    with pytest.raises(
        SetupError, match=r"^A stack already runs from .* \(supervisor pid \d+\); see `flywheel status`"
    ):
        world.stack.start()
    assert stack.states()[0].pid == before


def test_a_taken_port_is_one_sentence_before_anything_starts(world: World) -> None:
    port = world.add("base")
    stack = world.up()
    other = World(world.settings.model_copy(update={"state_dir": world.folder / "other"}), world.folder)
    other.components = [one | {"name": "late", "setting": "late_port"} for one in world.components]
    with pytest.raises(SetupError) as refused:
        other.stack.start()
    assert str(refused.value) == (
        f"Port {port}, which late needs, is taken by {psutil.Process(stack.states()[0].pid).name()} "
        f"(pid {stack.states()[0].pid}); stop that, or set FLYWHEEL_LATE_PORT to a free port."
    )
    assert not other.stack.running()


def test_a_missing_package_is_one_sentence(world: World) -> None:
    world.components.append({"name": "odd", "command": [sys.executable, "-m", "nosuch.thing"], "health": "http://x"})
    with pytest.raises(SetupError, match=r"odd needs the Python package nosuch, which is missing; run `make setup`."):
        world.stack.start()


def test_a_component_is_given_the_settings_and_no_keys_of_its_user(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "k")
    world.add("server")
    world.up()
    names = (world.folder / "server.environ").read_text().splitlines()
    assert {"FLYWHEEL_STATE_DIR", "FLYWHEEL_GATEWAY_PORT", "DO_NOT_TRACK", "PATH", "NO_PROXY"} <= set(names)
    assert "AWS_SECRET_ACCESS_KEY" not in names


def test_status_counts_memory_of_all_that_a_component_started(world: World) -> None:
    world.add("server")
    (status,) = world.up().status()
    alone = psutil.Process(status.pid).memory_info().rss
    assert status.memory > alone
    assert status.started_at is not None
    assert 0 <= time.time() - status.started_at < 60


def test_a_stack_as_a_context_is_gone_after_it(world: World) -> None:
    world.add("server")
    with world.stack as stack:
        everyone = world.everyone()
        assert stack.running()
    assert gone(everyone)


def _supervisor(settings: Settings) -> int:
    return int((settings.state_dir / "run" / "supervisor.lock").read_text())


def _get(port: int, path: str) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        connection.getresponse()
    except (RemoteDisconnected, ConnectionResetError):
        pass
    finally:
        connection.close()
