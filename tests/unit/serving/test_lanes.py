"""A slow model is waited for by those who ask for it, and by nobody else."""

import asyncio
import threading

import numpy as np
import pytest

from contracts.errors import Unavailable
from services.serving.lanes import MOST_WAITING, Lanes
from services.serving.onnx_model import open_model
from tests.unit.serving.onnx_models import NAMES, onnx


def test_a_slow_call_holds_up_its_own_system_alone() -> None:
    async def both() -> list[str]:
        lanes, done, free = Lanes(), [], threading.Event()
        slow = asyncio.create_task(lanes.run("slow", lambda: free.wait(20) and done.append("slow")))
        behind = asyncio.create_task(lanes.run("slow", lambda: done.append("behind it")))
        await lanes.run("other", lambda: done.append("other"))
        free.set()
        await asyncio.gather(slow, behind)
        return done

    assert asyncio.run(both()) == ["other", "slow", "behind it"]


def test_whoever_comes_when_the_lane_is_full_is_told_at_once() -> None:
    async def crowd() -> int:
        lanes, free = Lanes(), threading.Event()
        calls = [asyncio.create_task(lanes.run("slow", lambda: free.wait(20))) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="The model of slow is slow, and 16 requests wait"):
            await lanes.run("slow", lambda: True)
        free.set()
        await asyncio.gather(*calls)
        return len(await asyncio.gather(lanes.run("slow", lambda: [1])))

    assert asyncio.run(crowd()) == 1


def test_a_small_model_is_quick_for_few_rows_and_not_for_very_many() -> None:
    model = open_model(onnx(1), len(NAMES))
    assert model.is_quick(1)
    assert not model.is_quick(10**9)
    assert model.quick_rows > 1
    assert not model.is_quick(model.quick_rows, explain=True)
    assert np.isfinite(model.scores(np.zeros((1, len(NAMES)), dtype=np.float32))).all()
