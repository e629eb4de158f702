"""The demo is honest: it says which part of the loop did not close, and deletes nothing that is not its own."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from contracts.errors import SetupError
from contracts.records import ModelVersion
from infra.settings import Settings
from services.client.commands import DEMO_MARK, clear_stage
from services.client.demo import Outcome, faults
from services.client.oracle import Quality

FIRST = ModelVersion("ad_click", "1", "0" * 64, "run", ("x",), datetime(2026, 1, 1, tzinfo=UTC))
CLOSED = Outcome(
    before=Quality(8_000, 0.1, served=0.92, oracle=0.90),
    under=Quality(8_000, 0.1, served=1.20, oracle=0.86),
    after=Quality(8_000, 0.1, served=0.90, oracle=0.86),
    first=FIRST,
    second=replace(FIRST, version="2"),
    predictions=6_000,
    outcomes=4_000,
    lost=9,
)


def test_a_loop_that_closed_has_no_fault() -> None:
    assert faults(CLOSED, margin=0.03, availability=0.999) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"under": CLOSED.before}, "the drift did not harm the first version"),
        ({"second": FIRST}, "no new version serves"),
        ({"after": CLOSED.under}, "the new version is no better than the first under drift"),
        ({"lost": 11}, "fewer than 99.9% of predictions and outcomes were acknowledged"),
        ({"after": None}, "a measurement is missing"),
    ],
)
def test_what_did_not_close_is_named(change: dict[str, object], fault: str) -> None:
    assert fault in faults(replace(CLOSED, **change), margin=0.03, availability=0.999)  # type: ignore[arg-type]  # fields by name


def test_the_demo_clears_what_a_demo_left(settings: Settings) -> None:
    settings.path("events", "ad_click").touch()
    settings.path(DEMO_MARK).touch()
    key = settings.secret("api_key")
    clear_stage(settings)
    assert not (settings.state_dir / "events").exists()
    assert settings.secret("api_key") == key


def test_the_demo_leaves_a_stack_of_ones_own_alone(settings: Settings) -> None:
    mine = settings.path("events", "ad_click")
    mine.touch()
    with pytest.raises(SetupError, match="FLYWHEEL_STATE_DIR"):
        clear_stage(settings)
    assert mine.exists()
