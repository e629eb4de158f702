"""A system that cannot be loaded is named with what to mend, wherever its author looks; the others are there."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from contracts.errors import BrokenSystem
from infra import broken_systems, doctor
from infra.new_system import make
from infra.settings import ROOT, Settings, machine_environ
from services.gateway.catalogue import Catalogue
from systems import load


@pytest.fixture
def given(tmp_path: Path, settings: Settings) -> Settings:
    """Settings of a stack with two systems of its own: one that is whole, and one whose author went to lunch."""
    for name in ("whole_one", "left_open"):
        make(name, tmp_path / "mine")
    (tmp_path / "mine" / "left_open" / "model.py").write_text("MODEL = (\n")
    return settings.model_copy(update={"systems_dir": tmp_path / "mine"})


def test_a_process_of_its_own_says_what_to_mend_by_system(given: Settings) -> None:
    found = broken_systems.of_folders(given)
    assert found["whole_one"] is None
    assert found["ad_click"] is None
    fault = found["left_open"] or ""
    assert fault.startswith(
        f"System 'left_open': {given.systems_dir}/left_open/model.py cannot be imported: SyntaxError"
    )


def test_what_a_system_prints_as_it_is_imported_is_in_nobodys_way(given: Settings) -> None:
    assert given.systems_dir is not None
    with (given.systems_dir / "whole_one" / "task.py").open("a") as file:
        file.write('print("hello")\n')
    assert broken_systems.of_folders(given)["whole_one"] is None


def test_doctor_names_it_and_ends_with_status_1(given: Settings) -> None:
    findings = {one.what: one for one in doctor.examine(given)}
    assert findings["Systems"].well
    assert {"whole_one", "ad_click"} <= set(findings["Systems"].found.split(", "))
    assert not findings["System left_open"].well
    assert "mend that file" in findings["System left_open"].found


def test_a_folder_of_systems_that_is_not_there_is_what_doctor_says(settings: Settings, tmp_path: Path) -> None:
    findings = {one.what: one for one in doctor.examine(settings.model_copy(update={"systems_dir": tmp_path / "no"}))}
    assert not findings["Systems"].well
    assert "FLYWHEEL_SYSTEMS_DIR" in findings["Systems"].found


@pytest.mark.parametrize(
    "command",
    [("simulate", "left_open"), ("train", "left_open"), ("ingest", "left_open", "--world")],
    ids=lambda c: c[0],
)
def test_a_command_about_it_is_refused_in_one_sentence(given: Settings, command: tuple[str, ...]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "infra.cli", *command],
        env=machine_environ() | given.environ(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("System 'left_open': ")
    assert len(ended.stderr.splitlines()) == 1


def test_the_gateway_serves_the_others_and_lists_it(given: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_SYSTEMS_DIR", str(given.systems_dir))
    monkeypatch.setattr("systems.__path__", [str(ROOT / "systems")])
    load.cache_clear()
    catalogue = Catalogue.load()
    assert {"whole_one", "ad_click"} <= set(catalogue.ready)
    [listed] = [one for one in catalogue.summary().systems if one.name == "left_open"]
    assert listed.status == "broken"
    with pytest.raises(BrokenSystem, match="mend that file"):
        catalogue.find("left_open")
    load.cache_clear()


@contextmanager
def gateway(settings: Settings, status: int, body: object) -> Iterator[None]:
    """Something that answers as the gateway would at its address, to whoever has the key."""
    key = settings.secret("api_key")

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/v1/systems"
            self.send_response(status if self.headers["Authorization"] == f"Bearer {key}" else 401)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", settings.gateway_port), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_what_the_gateway_lists_as_broken_is_what_up_and_status_say(settings: Settings) -> None:
    listed = [
        {"name": "ad_click", "status": "ready", "goal": "g", "message": None},
        {"name": "left_open", "status": "broken", "goal": None, "message": "System 'left_open': mend it."},
    ]
    with gateway(settings, 200, {"systems": listed}):
        assert broken_systems.of_gateway(settings) == ["System 'left_open': mend it."]
    with gateway(settings, 503, {}):
        assert broken_systems.of_gateway(settings) == []
    assert broken_systems.of_gateway(settings) == []
