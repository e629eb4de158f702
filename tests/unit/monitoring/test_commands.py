"""`flywheel metrics` and `flywheel parity` show what was found last, and say so when nothing was."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.findings import OnlineFigure, OnlineFigures, ParityColumn, ParityFinding
from infra import wiring
from infra.cli import main
from infra.settings import Settings

AT = datetime(2026, 3, 15, 12, tzinfo=UTC)
SYSTEM = "ad_click"
FIGURES = (
    OnlineFigure("click-through rate", "share of impressions", "3", "", 0.08234, 0.0802, 0.0845, 91_520),
    OnlineFigure("click-through rate", "share of impressions", "3", "device = phone", 0.1, 0.09, 0.11, 40_000),
    OnlineFigure("hide rate", "share of impressions", "3", "", 0.0001, None, None, 91_520),
)
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("FLYWHEEL_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    return Settings.load()


@pytest.fixture
def flywheel(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command: its exit status, and what it wrote."""

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out + written.err

    return run


def test_metrics_are_a_table_by_version_with_their_intervals(settings: Settings, flywheel: Run) -> None:
    found = OnlineFigures(SYSTEM, AT, AT - timedelta(days=7), FIGURES, ("They agree.",))
    wiring.findings(settings).keep(found)
    status, said = flywheel("metrics", SYSTEM)
    assert status == 0
    assert "0.08234" in said
    assert "0.0802 to 0.0845" in said
    assert "91,520" in said
    assert "too few" in said
    assert "They agree." in said
    assert "device = phone" not in said
    assert "device = phone" in flywheel("metrics", SYSTEM, "--slices")[1]


def test_features_that_differ_are_said_to_and_are_a_failure(settings: Settings, flywheel: Run) -> None:
    column = ParityColumn("price", 40, "every value is 1000 times the recomputed one, in 40 of 40 rows")
    for differing, status in (((), 0), ((column,), 1)):
        found = ParityFinding(SYSTEM, AT, AT - timedelta(hours=3), 40, 24, differing, "Words.")
        wiring.findings(settings).keep(found)
        ended, said = flywheel("parity", SYSTEM)
        assert ended == status
        assert "2026-03-15 09:00 to 12:00 UTC. Words." in said
    assert "price: every value is 1000 times the recomputed one" in said


@pytest.mark.parametrize("command", ["metrics", "parity"])
def test_what_was_never_found_is_said_to_be(settings: Settings, flywheel: Run, command: str) -> None:
    status, said = flywheel(command, SYSTEM)
    assert status == 1
    assert f"`flywheel {command} {SYSTEM} --now` does" in said
