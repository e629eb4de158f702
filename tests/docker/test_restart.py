"""Stopped in order, started again from its volumes: the same model answers, with the same key and the same history."""

import asyncio
import json

import httpx

from tests.conftest import poll
from tests.docker.conftest import MEASURED, Stack
from tests.docker.containers import secrets_of

SECOND_START = 90.0  # seconds on two cores
KILLED = 137  # the status of what did not end within its stop timeout


def test_everything_is_healthy_and_a_first_model_serves(stack: Stack) -> None:
    assert {name: stack.containers.health(name) for name in stack.containers.services()} == dict.fromkeys(
        stack.containers.services(), "healthy"
    )
    assert stack.containers.inspect("bootstrap")["State"]["ExitCode"] == 0
    assert _answer(stack)["variant"] == "champion"


def test_bootstrap_run_again_finds_nothing_to_do(stack: Stack) -> None:
    before = stack.champion()
    stack.containers.compose("run", "--rm", "--no-deps", "bootstrap")
    assert stack.champion() == before


def test_everything_stops_in_time_and_nothing_is_killed(stack: Stack) -> None:
    names = stack.containers.services()
    stack.containers.compose("stop")
    states = {name: stack.containers.inspect(name)["State"] for name in names}
    assert {name: state["ExitCode"] for name, state in states.items() if state["ExitCode"] == KILLED} == {}
    assert [name for name, state in states.items() if state["OOMKilled"]] == []


def test_a_second_start_finds_everything_as_it_was(stack: Stack) -> None:
    before = _volumes(stack)
    stack.containers.compose("down")
    seconds = stack.containers.up()
    MEASURED["second start, everything healthy"] = f"{seconds:.0f} s"
    assert seconds <= SECOND_START
    assert _volumes(stack) == before
    answer = _answer(stack)  # with the key of the first start
    assert answer["variant"] == "champion"
    assert answer["model_version"] == stack.champion()


def test_the_secrets_are_those_of_the_first_start(stack: Stack) -> None:
    [key] = {known["api_key"] for known in secrets_of(stack.containers, ["gateway"]).values()}
    assert key == stack.containers.settings.secret("api_key").strip()


def test_every_target_of_prometheus_is_up_and_its_rules_are_loaded(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.containers.ports['prometheus']}/api/v1"

    def down() -> list[str]:
        targets = httpx.get(f"{url}/targets", timeout=10).json()["data"]["activeTargets"]
        return [f"{one['labels']['job']}: {one['lastError']}" for one in targets if one["health"] != "up"]

    poll(lambda: not down(), 60.0, f"all targets up; {down()}")
    groups = httpx.get(f"{url}/rules", timeout=10).json()["data"]["groups"]
    assert {one["health"] for group in groups for one in group["rules"]} <= {"ok", "unknown"}
    assert any(one["type"] == "alerting" for group in groups for one in group["rules"])


def _volumes(stack: Stack) -> list[str]:
    names = json.loads(stack.containers.compose("config", "--format", "json"))["volumes"]
    return sorted(names)


def _answer(stack: Stack) -> dict[str, object]:
    async def once() -> dict[str, object]:
        async with stack.client() as client:
            return await client.predict("ad_click", stack.system.task.example)

    return asyncio.run(once())
