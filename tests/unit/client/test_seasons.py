"""A world that changes: once, or there and back again, in real time."""

from datetime import UTC, datetime

import pytest

from contracts.errors import InvalidInput
from contracts.world import Drift
from services.client.seasons import ChangingWorld, Seasons

CALM = Drift()
NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seasons", "turns"),
    [
        (Seasons(), [0, 0, 0, 0]),
        (Seasons("concept"), [1, 1, 1, 1]),
        (Seasons("concept", after=60), [0, 1, 1, 1]),
        (Seasons("concept", every=60), [0, 1, 2, 3]),
        (Seasons("concept", after=30, every=60), [0, 1, 2, 3]),
        (Seasons("data", after=120, every=30), [0, 0, 1, 3]),
    ],
)
def test_changes_come_when_they_are_due(seasons: Seasons, turns: list[int]) -> None:
    assert [seasons.turns(60.0 * minute) for minute in range(4)] == turns


def test_a_drift_comes_and_goes() -> None:
    made: list[Drift] = []

    def make(seed: int, drift: Drift = CALM) -> Drift:
        made.append(drift)
        return drift

    world = ChangingWorld(make, 7, Seasons("concept", 0.5, every=60))  # type: ignore[arg-type]  # a world is only passed on
    seen = [(world.turn(second, NOON), world.words, world.now) for second in (0.0, 59.0, 61.0, 62.0, 121.0, 181.0)]
    drifted = Drift("concept", NOON, 0.5)
    words = "under concept drift of strength 0.5"
    assert seen == [
        (False, "calm", CALM),
        (False, "calm", CALM),
        (True, words, drifted),
        (False, words, drifted),
        (True, "calm", CALM),
        (True, words, drifted),
    ]
    assert made == [CALM, drifted, drifted]


def test_a_drift_that_comes_and_goes_must_be_of_some_kind() -> None:
    with pytest.raises(InvalidInput, match="--drift"):
        ChangingWorld(lambda seed, drift=CALM: drift, 7, Seasons(every=60))  # type: ignore[arg-type,return-value]  # see above
