"""What nobody waits for rests after each piece of work, as far as it may."""

import threading
import time

import pytest

from infra import breather
from infra.breather import PIECE, TIMES, Breather


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The rests that were taken, in seconds."""
    taken: list[float] = []
    monkeypatch.setattr(breather.time, "sleep", taken.append)
    return taken


def work(seconds: float) -> None:
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass


def test_a_rest_is_as_long_as_the_work_asks_for(rests: list[float]) -> None:
    breath = Breather()
    breath.allow(1.0)
    work(0.01)
    breath.rest()
    (rest,) = rests
    assert TIMES * 0.01 <= rest < TIMES * 0.02


def test_there_is_no_rest_before_a_piece_of_work_is_done(rests: list[float]) -> None:
    breath = Breather()
    breath.allow(1.0)
    breath.rest()
    assert rests == []
    work(PIECE)
    breath.rest()
    breath.rest()
    assert len(rests) == 1


def test_rests_end_with_what_is_allowed(rests: list[float]) -> None:
    breath = Breather()
    breath.allow(0.045)
    for _ in breath.each(range(3)):
        work(0.005)
    assert sum(rests) == pytest.approx(0.045)
    assert len(rests) == 3
    work(0.005)
    breath.rest()
    assert len(rests) == 3


def test_none_is_allowed_before_it_is_said(rests: list[float]) -> None:
    breath = Breather()
    work(2 * PIECE)
    assert list(breath.each("ab")) == ["a", "b"]
    assert rests == []


def test_waiting_is_no_work(rests: list[float]) -> None:
    breath = Breather()
    breath.allow(1.0)
    threading.Event().wait(20 * PIECE)
    breath.rest()
    assert rests == []
