"""Safe by default: what a container may do, reach and know, asked of the engine and tried from inside."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from infra.first_start import KNOWS, REDIS_CONF
from infra.settings import ROOT
from tests.docker.conftest import Stack
from tests.docker.containers import secrets_of

LISTENS = {  # service → the port that it listens on in its networks
    "console": 8090,
    "evidently": 8000,
    "features-redis": 6379,
    "gateway": 8080,
    "log-redis": 6379,
    "mlflow": 5000,
    "postgres": 5432,
    "prefect": 4200,
    "probe": 8072,
    "prometheus": 9090,
    "recorder": 8070,
    "serving": 3000,
    "worker": 8071,
}
WATCHERS = {"probe", "prometheus"}
REACHES: Mapping[str, set[str]] = {  # service → what it can open a connection to, and nothing else
    "console": {"gateway", "serving", "mlflow", "prefect", "recorder", "evidently", "worker", *WATCHERS},
    "evidently": {"console", "probe"},
    "features-redis": {"gateway", "worker", "probe"},
    "gateway": {"console", "features-redis", "log-redis", "serving", "worker", "recorder", *WATCHERS},
    "log-redis": {"gateway", "recorder", "serving", *WATCHERS},
    "mlflow": {"console", "postgres", "serving", "worker", "probe"},
    "postgres": {"mlflow", "prefect", "probe"},
    "prefect": {"console", "postgres", "worker", *WATCHERS},
    "recorder": {"console", "log-redis", "gateway", "serving", *WATCHERS},
    "serving": {"console", "mlflow", "log-redis", "recorder", "gateway", "worker", *WATCHERS},
    "worker": {"console", "features-redis", "mlflow", "prefect", "serving", "gateway", *WATCHERS},
}
BASH = """for at in {targets}; do
  (timeout 3 bash -c "exec 3<>/dev/tcp/${{at%:*}}/${{at#*:}}" 2>/dev/null && echo $at) &
done; wait"""
UNPRIVILEGED = "10001:10001"
MOST_MEMORY = 4 << 30


@pytest.fixture(scope="module")
def inspected(stack: Stack) -> dict[str, dict[str, Any]]:
    """Every container, the jobs among them."""
    return {name: stack.containers.inspect(name) for name in stack.containers.services(jobs=True)}


def test_no_container_has_a_privilege_or_a_file_system_to_write_to(inspected: dict[str, dict[str, Any]]) -> None:
    for name, found in inspected.items():
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert not host["Privileged"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["PidMode"] == "", name
        assert host["IpcMode"] in ("private", "shareable"), name
        assert not any("docker.sock" in mount["Source"] for mount in found["Mounts"]), name


def test_no_container_runs_as_root(stack: Stack, inspected: dict[str, dict[str, Any]]) -> None:
    for name, found in inspected.items():
        assert found["Config"]["User"] not in ("", "0", "root"), name
        if found["Config"]["Image"].startswith("flywheel:"):
            assert found["Config"]["User"] == UNPRIVILEGED, name
    for name in stack.containers.services():
        pid = inspected[name]["State"]["Pid"]
        listed = stack.containers.compose("top", name).splitlines()
        assert pid, name
        assert not any(line.split()[1:2] == ["root"] for line in listed), f"{name}:\n" + "\n".join(listed)


def test_every_container_is_bounded(inspected: dict[str, dict[str, Any]]) -> None:
    for name, found in inspected.items():
        host = found["HostConfig"]
        assert 0 < host["Memory"] <= MOST_MEMORY, name
        assert 0 < host["PidsLimit"] <= 512, name
        assert host["LogConfig"]["Config"].get("max-size"), name


def test_only_six_ports_are_published_and_all_on_loopback(inspected: dict[str, dict[str, Any]]) -> None:
    published = {
        name: [one for bound in (found["HostConfig"]["PortBindings"] or {}).values() for one in bound]
        for name, found in inspected.items()
    }
    assert {name for name, bound in published.items() if bound} == {
        "console",
        "gateway",
        "mlflow",
        "prefect",
        "evidently",
        "prometheus",
    }
    assert {one["HostIp"] for bound in published.values() for one in bound} == {"127.0.0.1"}


def test_nothing_can_call_out(stack: Stack) -> None:
    """A network is internal, or its members have no address that the outside could answer to."""
    config = json.loads(stack.containers.compose("config", "--format", "json"))["networks"]
    for name in config:
        command = ["docker", "network", "inspect", f"{stack.containers.project}_{name}"]
        [found] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        closed = found["Options"].get("com.docker.network.bridge.enable_ip_masquerade") == "false"
        assert found["Internal"] or closed, name


@pytest.mark.parametrize("service", sorted(REACHES))
def test_a_service_reaches_what_it_must_and_nothing_else(stack: Stack, service: str) -> None:
    others = {name: port for name, port in LISTENS.items() if name != service}
    targets = " ".join(f"{name}:{port}" for name, port in others.items())
    done = stack.containers.execute(service, "bash", "-c", BASH.format(targets=targets))
    reached = {line.partition(":")[0] for line in done.stdout.split()}
    assert reached == REACHES[service]


def test_every_service_that_listens_is_in_these_tables(stack: Stack) -> None:
    assert set(stack.containers.services()) == set(LISTENS) == set(REACHES) | WATCHERS


def test_a_service_knows_its_own_secrets_alone(stack: Stack) -> None:
    found = secrets_of(stack.containers, stack.containers.services())
    for name, known in found.items():
        assert set(known) - {REDIS_CONF} == set(KNOWS.get(name, ())), name


def test_no_secret_is_in_an_environment_a_command_line_or_a_log(
    stack: Stack, inspected: dict[str, dict[str, Any]]
) -> None:
    values = {
        value
        for known in secrets_of(stack.containers, stack.containers.services()).values()
        for name, value in known.items()
        if name != REDIS_CONF
    }
    assert len(values) == 6
    assert all(len(value) >= 32 for value in values)
    places = {f"the engine's record of {name}": json.dumps(found) for name, found in inspected.items()}
    places["the logs"] = stack.containers.logs()
    assert "uvicorn" in places["the logs"] or len(places["the logs"]) > 1000  # there is something to look through
    leaks = [place for place, text in places.items() for value in values if value in text]
    assert leaks == []


def test_the_image_holds_no_secret_and_no_state(stack: Stack) -> None:
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "find", "flywheel:local"]
    done = subprocess.run(
        [*command, "/state", "/secrets", "/volumes", "-type", "f"], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""


def test_every_image_is_pinned() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    foreign = {each["image"] for each in services.values() if not each["image"].startswith("flywheel:")}
    dockerfile = (ROOT / "infra" / "docker" / "Dockerfile").read_text()
    foreign |= {line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM ")}
    for image in foreign:
        tag = image.partition(":")[2]
        assert any(character.isdigit() for character in tag), image
