"""A source is asked once for everybody, and one that is down, broken or hangs is said to be, in a sentence."""

import asyncio

import pytest

from contracts.errors import Unavailable
from services.console import readings
from services.console.readings import Source

pytestmark = pytest.mark.anyio


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_ten_who_look_at_once_cost_what_one_does() -> None:
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return asked

    clock = Clock()
    source = Source("It", ask, lasts=1.0, time=clock)
    assert {each.value for each in await asyncio.gather(*(source.read() for _ in range(10)))} == {1}
    clock.now += 0.9
    assert (await source.read()).value == 1
    clock.now += 0.2
    assert (await source.read()).value == 2
    source.forget()
    assert (await source.read()).value == 3


async def test_why_there_is_no_answer_is_said_and_forgotten_when_there_is_one() -> None:
    faults: list[Exception] = [Unavailable("It does not answer."), KeyError("x")]

    async def ask() -> str:
        if faults:
            raise faults.pop(0)
        return "here"

    source = Source("It", ask, lasts=0.0)
    assert (await source.read()).fault == "It does not answer."
    assert "It gave an answer that the console cannot read (KeyError)" in (await source.read()).fault
    found = await source.read()
    assert (found.value, found.fault) == ("here", "")


async def test_one_that_hangs_is_waited_for_once_and_shown_when_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "PATIENCE", 0.05)
    answers, asked = asyncio.Event(), 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        await answers.wait()
        return "late"

    source = Source("It", ask, lasts=10.0)
    assert "It has not answered" in (await source.read()).fault
    async with asyncio.timeout(0.04):  # whoever comes later does not wait again
        assert "It has not answered" in (await source.read()).fault
    answers.set()
    assert (await source.read()).value == "late"
    assert asked == 1


async def test_a_source_that_hangs_is_given_up_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "PATIENCE", 0.01)
    ended = False

    async def ask() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    source = Source("It", ask, lasts=1.0)
    await source.read()
    await source.close()
    assert ended
