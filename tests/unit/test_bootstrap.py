"""The bootstrap: it makes what is missing, leaves the rest alone, and waits for a stack that is coming up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.errors import FlywheelError, NotFound, RefusedCandidate, Unavailable, UnknownSystem
from contracts.records import ModelVersion, RunState
from pipelines.bootstrap import Parts, begin

WORLD = {"seed": 7, "days": 14, "rows": 1000}
FIRST = ModelVersion("ad_click", "1", "0" * 64, "run", ("x",), datetime(2026, 1, 1, tzinfo=UTC))


@dataclass
class Stack:
    """A registry and a flow runner, of which each call may fail with the next of `faults`."""

    champion: ModelVersion | None = None
    faults: list[FlywheelError] = field(default_factory=list)
    ends: Mapping[str, RunState] = field(default_factory=dict)  # of the runs of a deployment
    took_up: bool = True
    ran: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def _stumble(self) -> None:
        if self.faults:
            raise self.faults.pop(0)

    def resolve(self, system: str, alias: str) -> ModelVersion | None:
        self._stumble()
        return self.champion

    def run(self, deployment: str, parameters: Mapping[str, Any]) -> str:
        self._stumble()
        self.ran.append((deployment, parameters))
        return deployment

    def follow(self, run_id: str) -> Iterator[str]:
        yield "begun"
        if not self.took_up:
            raise Unavailable("No flow runner took up the run.")
        self._stumble()
        yield "done"

    def state(self, run_id: str) -> RunState:
        self._stumble()
        if not self.took_up:
            return RunState(run_id, run_id, "scheduled")
        return self.ends.get(run_id, RunState(run_id, run_id, "completed", f"{run_id} went well."))

    def begin(self, name: str = "ad_click", patience: float = 5.0) -> None:
        begin(Parts(self, self, self.said.append, patience), name, WORLD)  # type: ignore[arg-type]  # half of each port


def test_a_system_without_a_champion_gets_one_step_by_step() -> None:
    stack = Stack()
    stack.begin()
    assert [name for name, _ in stack.ran] == ["ingest", "materialize", "train", "promote"]
    assert dict(stack.ran)["ingest"] == {"system": "ad_click", "world": WORLD}
    assert dict(stack.ran)["train"]["data"] == "history"
    assert stack.said[-1] == "promote went well."
    assert stack.said.count("train: done") == 1


def test_a_system_with_a_champion_is_left_alone() -> None:
    stack = Stack(champion=FIRST)
    stack.begin()
    assert stack.ran == []
    assert stack.said == ["ad_click has a champion, version 1: nothing to do."]


def test_a_stack_that_is_coming_up_is_waited_for_and_that_is_said_once() -> None:
    stack = Stack(faults=[Unavailable("MLflow is away."), Unavailable("MLflow is away."), Unavailable("No.")])
    stack.begin()
    assert [line for line in stack.said if "Waiting" in line] == ["Waiting for the stack: MLflow is away."]
    assert len(stack.ran) == 4


def test_deployments_that_are_not_registered_yet_are_waited_for() -> None:
    stack = Stack(champion=None)
    stack.resolve = lambda *_: None  # type: ignore[method-assign]  # only Prefect stumbles
    stack.faults = [NotFound("Prefect has no deployment 'ingest'. Known: none.")]
    stack.begin()
    assert len(stack.ran) == 4


def test_but_not_without_end() -> None:
    stack = Stack(faults=[Unavailable("MLflow is away.")] * 9)
    with pytest.raises(Unavailable, match=r"waited 0 s: MLflow is away\."):
        stack.begin(patience=0.0)


def test_a_run_is_followed_on_when_prefect_was_away_for_a_moment() -> None:
    stack = Stack()
    stack.resolve = lambda *_: None  # type: ignore[method-assign]  # only Prefect stumbles
    follow = stack.follow

    def stumbling(run_id: str) -> Iterator[str]:
        yield "begun"
        stack.follow = follow  # type: ignore[method-assign]  # once
        raise Unavailable("Prefect is away.")

    stack.follow = stumbling  # type: ignore[method-assign]  # see above
    stack.begin()
    assert [line for line in stack.said if line.startswith("ingest")] == ["ingest: begun", "ingest: done"]


def test_a_run_that_nobody_takes_up_is_an_error() -> None:
    with pytest.raises(Unavailable, match="No flow runner"):
        Stack(took_up=False).begin()


def test_a_first_model_that_the_gate_refuses_is_an_error_with_its_reasons() -> None:
    refused = RunState(
        "promote", "promote", "completed", "Refused: version 1 is refused. It does not beat the base rate."
    )
    with pytest.raises(RefusedCandidate, match=r"ad_click has no champion: version 1 .* the base rate"):
        Stack(ends={"promote": refused}).begin()


def test_a_run_that_fails_ends_it_there() -> None:
    stack = Stack(ends={"train": RunState("train", "brave-fox", "failed", "no events to train on")})
    with pytest.raises(FlywheelError, match="The run brave-fox of train failed: no events to train on"):
        stack.begin()
    assert [name for name, _ in stack.ran] == ["ingest", "materialize", "train"]


def test_a_system_that_does_not_exist_is_named_before_anything_is_asked() -> None:
    with pytest.raises(UnknownSystem, match="ad_clack"):
        Stack(faults=[Unavailable("away")] * 9).begin("ad_clack")
