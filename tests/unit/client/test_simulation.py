"""Simulated clients: every outcome is told once, whatever the gateway does; without end they stay small."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, Self

import pytest

from contracts.errors import FlywheelError, InvalidInput, SetupError, Unavailable
from contracts.world import SimulatedOutcome
from infra.clock import SystemClock
from services.client.ledger import KINDS, Ledger
from services.client.simulation import Simulation
from tests.conftest import poll


@dataclass
class Gateway:
    """A client of a gateway that answers, or fails with what it is told to."""

    fault: FlywheelError | None = None
    fault_of_outcomes: FlywheelError | None = None
    tries: Counter[str] = field(default_factory=Counter)  # of outcomes
    names: Any = field(default_factory=count)
    refusals: int = 0  # predictions that it still refuses for the moment

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def predict(self, system: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if self.fault:
            raise self.fault
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("not now")
        return {"prediction_id": f"p{next(self.names)}", "model_version": "1", "degraded": [], "result": {}}

    async def outcome(self, system: str, name: str, outcome: SimulatedOutcome) -> None:
        self.tries[name] += 1
        if fault := self.fault or self.fault_of_outcomes:
            raise fault


class World:
    """Clients that all act at once."""

    def requests(self, number: int, at: datetime, stream: int) -> Sequence[dict[str, Any]]:
        return [{}] * number

    def outcomes(self, request: object, result: object, at: datetime, stream: int) -> Sequence[SimulatedOutcome]:
        return [SimulatedOutcome(None, 1.0, at)]


def clients_of(gateway: Gateway, ledger: Ledger | None = None, rate: float = 100.0) -> Simulation:
    return Simulation(gateway, "shop", World(), SystemClock(), rate, ledger)  # type: ignore[arg-type]  # what is asked of them


def test_outcomes_outlast_an_absence_of_the_gateway_and_are_told_once() -> None:
    gateway = Gateway(fault_of_outcomes=Unavailable("gone"))
    with clients_of(gateway) as clients:
        poll(lambda: clients.waiting > 20, what="outcomes that wait")
        gateway.fault = Unavailable("gone")
        failed = clients.ledger.failed
        poll(lambda: clients.ledger.failed > failed + 20, what="predictions that fail")
        assert clients.ledger.reported == 0
        assert sum(gateway.tries.values()) < 200  # not every waiting one at every look
        assert clients.ledger.lost == clients.ledger.failed
        gateway.fault = gateway.fault_of_outcomes = None
        poll(lambda: clients.ledger.reported > 100, what="the outcomes")
        gateway.fault = Unavailable("the end")
        poll(lambda: clients.ledger.answered == clients.ledger.reported + clients.waiting, what="calm")
    ledger = clients.ledger
    assert len(ledger.predictions) == ledger.answered
    assert {name for name, _, _ in ledger.outcomes} <= ledger.predictions.keys()
    assert len(ledger.outcomes) == ledger.reported
    of_outcomes = sum(gateway.tries.values()) - ledger.reported
    assert of_outcomes > 0
    assert 0 < ledger.lost <= ledger.failed - of_outcomes  # predictions that were given up


def test_a_prediction_that_is_refused_for_the_moment_is_asked_for_again() -> None:
    gateway = Gateway(refusals=12)
    with clients_of(gateway) as clients:
        poll(lambda: clients.ledger.made_good == 12, what="the predictions that were refused")
        poll(lambda: clients.ledger.reported > 20, what="outcomes")
    assert clients.ledger.failed == 12
    assert clients.ledger.lost == 0
    assert clients.ledger.percentile(100) > 1000  # the user waited all that time


def test_a_prediction_is_given_up_after_three_attempts() -> None:
    gateway = Gateway(fault=Unavailable("gone"))
    with clients_of(gateway, rate=2.0) as clients:
        poll(lambda: clients.ledger.failed > 9, what="attempts")
    assert clients.ledger.answered == 0
    assert clients.ledger.lost == clients.ledger.failed


def test_an_outcome_that_is_refused_is_not_sent_again() -> None:
    gateway = Gateway(fault_of_outcomes=InvalidInput("no such thing"))
    with clients_of(gateway) as clients:
        poll(lambda: len(gateway.tries) > 30, what="outcomes")
    assert set(gateway.tries.values()) == {1}
    assert clients.ledger.failures["no such thing"] == len(gateway.tries)


def test_a_refused_key_ends_the_clients_and_is_said() -> None:
    with clients_of(Gateway(fault=SetupError("the key is wrong."))) as clients:
        with pytest.raises(FlywheelError, match=r"clients of shop stopped: the key is wrong\.$"):
            poll(clients.check, 5, "the end")
        assert clients.ledger.failed == 0


def test_a_fault_of_the_worlds_ends_the_clients() -> None:
    with clients_of(Gateway()) as clients:
        clients.world = None  # type: ignore[assignment]  # any fault will do
        with pytest.raises(FlywheelError, match="stopped: 'NoneType'"):
            poll(clients.check, 5, "the end")


def test_requests_that_no_room_was_left_for_are_counted() -> None:
    with clients_of(Gateway(), rate=1_000_000.0) as clients:
        poll(lambda: clients.ledger.unsent > 1000 and clients.ledger.answered > 1000, what="both")


def test_clients_without_end_keep_counts_alone() -> None:
    ledger = Ledger(complete=False)
    with clients_of(Gateway(), ledger) as clients:
        poll(lambda: ledger.reported > 50, what="outcomes")
    assert (ledger.predictions, ledger.outcomes) == ({}, set())
    assert ledger.answered == ledger.versions["1"] == ledger.reported + clients.waiting


def test_failures_that_all_differ_are_counted_together() -> None:
    ledger = Ledger()
    for number in range(3 * KINDS):
        ledger.fail(f"prediction p{number} is unknown")
    assert len(ledger.failures) == KINDS + 1
    assert ledger.failed == 3 * KINDS


def test_clients_end_within_seconds() -> None:
    with clients_of(Gateway()) as clients:
        poll(lambda: clients.ledger.answered, what="an answer")
        began = time.monotonic()
    assert time.monotonic() - began < 1
