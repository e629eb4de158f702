"""What Prometheus is shown of monitoring is what its files say, and a dead monitor is never shown as a good one."""

import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from contracts.findings import OnlineFigure, OnlineFigures, ParityColumn, ParityFinding
from contracts.records import Verdict
from infra import wiring
from infra.retrain_policy import End
from infra.retrainings import Started
from infra.settings import ROOT, Settings
from pipelines import verdict_metrics
from pipelines.verdict_metrics import OF_VERDICT, VerdictMetrics
from tests.conftest import settings_in

SYSTEM, OTHER = "ad_click", "fraud_detection"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def judged(at: datetime, **changes: object) -> Verdict:
    """A calm verdict of the last three hours."""
    calm = Verdict(
        *(SYSTEM, at, at - 4 * HOUR, at, "3"),
        labelled_rows=9_000,
        loss=0.31,
        loss_low=0.30,
        reference_loss=0.32,
        harmed=False,
        feature_rows=12_000,
        drifted_columns=(),
        drift_share=0.0,
        drifted=False,
        served_since=at - 3 * HOUR,
    )
    return replace(calm, **changes)  # type: ignore[arg-type]  # of these fields' types


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture
def now() -> datetime:
    """The machine's time, which is the platform's where no clock was set going."""
    return datetime.now(UTC)


class Shown:
    """A registry with the collector, as the flow runner has one."""

    def __init__(self, settings: Settings) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(VerdictMetrics(settings, lambda: (SYSTEM, OTHER)))

    def __call__(self, name: str, system: str = SYSTEM, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"flywheel_{name}", {"system": system, **labels})


def test_what_nobody_has_judged_has_no_figures_and_no_life(settings: Settings) -> None:
    shown = Shown(settings)
    assert (shown("monitor_alive"), shown("monitor_readable")) == (0.0, 1.0)
    assert [name for name in ("monitor_verdict_age_seconds", *OF_VERDICT) if shown(name) is not None] == []
    assert shown("retrainings_total", end="promoted") == 0.0
    assert shown("retrainings_refused_in_a_row") == 0.0


def test_the_newest_verdict_is_mirrored(settings: Settings, now: datetime) -> None:
    wiring.verdicts(settings).append(judged(now - HOUR, loss=0.9, harmed=True))
    newest = judged(
        now - 10 * MINUTE,
        drifted=True,
        drifted_columns=("price", "age"),
        concept_drifted=True,
        concept_evidence=12.5,
        concept_threshold=11.5,
        concept_labels=7_000,
        estimated_loss=0.33,
        estimated_low=0.32,
        estimated_high=0.34,
    )
    wiring.verdicts(settings).append(newest)
    shown = Shown(settings)
    assert (shown("quality_loss"), shown("quality_loss_low"), shown("quality_reference_loss")) == (0.31, 0.30, 0.32)
    assert (shown("quality_fell"), shown("quality_labelled_rows")) == (0.0, 9_000)
    assert (shown("data_drifted"), shown("data_drifted_columns"), shown("data_rows")) == (1.0, 2.0, 12_000)
    assert (shown("concept_drifted"), shown("concept_evidence"), shown("concept_threshold")) == (1.0, 12.5, 11.5)
    assert shown("concept_labels") == 7_000
    assert [shown(f"estimated_loss{end}") for end in ("", "_low", "_high")] == [0.33, 0.32, 0.34]
    assert shown("monitor_verdict_age_seconds") == pytest.approx(600, abs=60)
    assert (shown("monitor_alive"), shown("monitor_alive", OTHER), shown("quality_loss", OTHER)) == (1.0, 0.0, None)


def test_inconclusive_is_neither_yes_nor_no(settings: Settings, now: datetime) -> None:
    wiring.verdicts(settings).append(judged(now, harmed=None, drifted=None, loss=math.nan))
    shown = Shown(settings)
    for name in ("quality_fell", "data_drifted", "concept_drifted", "quality_loss"):
        assert math.isnan(shown(name) or 0.0), name


def test_a_monitor_that_fell_silent_is_not_alive(settings: Settings, now: datetime) -> None:
    wiring.verdicts(settings).append(judged(now - HOUR))
    assert Shown(settings)("monitor_alive") == 0.0


def test_on_a_fast_clock_verdicts_may_be_further_apart(settings: Settings, now: datetime) -> None:
    clock = wiring.start_clock(settings, now - timedelta(days=30), 240.0)
    wiring.verdicts(settings).append(judged(clock.now() - HOUR))
    assert Shown(settings)("monitor_alive") == 1.0


@pytest.mark.parametrize(
    ("hours_ago", "sustained"),
    [
        ((0, 3), 1.0),
        ((0, 6), 1.0),  # the window between them was calm
        ((0,), 0.0),
        ((0, 1), 0.0),  # both windows hold the same rows
    ],
)
def test_drift_is_sustained_in_two_of_three_windows(
    settings: Settings, now: datetime, hours_ago: tuple[int, ...], sustained: float
) -> None:
    for ago in (6, 3, 1, 0):
        wiring.verdicts(settings).append(judged(now - ago * HOUR, drifted=ago in hours_ago, harmed=True))
    assert Shown(settings)("data_drift_sustained") == sustained


def retrained(settings: Settings, at: datetime, *ends: End | None) -> None:
    """Runs an hour apart that ended so; without an end one is under way."""
    kept = wiring.retrainings(settings)
    for number, end in enumerate(ends):
        with kept.alone(SYSTEM):
            kept.begin(SYSTEM, Started(f"run-{number}", at + number * HOUR, "because"))
        if end:
            kept.end(SYSTEM, f"run-{number}", at + number * HOUR + MINUTE, end)


def test_retrainings_are_counted_by_their_ends_and_refusals_in_a_row(settings: Settings, now: datetime) -> None:
    retrained(settings, now - 9 * HOUR, "refused", "promoted", "refused", "died", "refused", None)
    shown = Shown(settings)
    ends = {end: shown("retrainings_total", end=end) for end in ("refused", "promoted", "died", "failed", "cancelled")}
    assert ends == {"refused": 3, "promoted": 1, "died": 1, "failed": 0, "cancelled": 0}
    assert (shown("retrainings_refused_in_a_row"), shown("retraining_running")) == (2.0, 1.0)
    assert shown("retraining_running", OTHER) == 0.0


def parity(at: datetime, rows: int, *differing: ParityColumn) -> ParityFinding:
    return ParityFinding(SYSTEM, at, at - 3 * HOUR, rows, 24, differing, "words")


def test_features_that_were_served_otherwise_are_named(settings: Settings, now: datetime) -> None:
    wiring.findings(settings).keep(parity(now - HOUR, 10_000, ParityColumn("price", 4_000, "1000 times")))
    shown = Shown(settings)
    assert (shown("parity_rows"), shown("parity_differing_features")) == (10_000, 1.0)
    assert shown("parity_differing_rows", feature="price") == 4_000
    assert shown("parity_age_seconds") == pytest.approx(3600, abs=60)
    assert shown("parity_rows", OTHER) is None


def test_where_nothing_was_compared_nothing_is_equal(settings: Settings, now: datetime) -> None:
    wiring.findings(settings).keep(parity(now, 0))
    assert math.isnan(Shown(settings)("parity_differing_features") or 0.0)


def test_online_metrics_are_shown_by_version_without_slices(settings: Settings, now: datetime) -> None:
    whole = OnlineFigure("click rate", "share", "3", "", 0.08, 0.07, 0.09, 5_000)
    of_phones = replace(whole, slice="device = phone", value=0.1)
    few = replace(whole, version="10", low=None, high=None)
    figures = OnlineFigures(SYSTEM, now, now - timedelta(days=7), (whole, of_phones, few))
    wiring.findings(settings).keep(figures)
    shown = Shown(settings)
    labels = {"metric": "click rate", "unit": "share", "version": "3"}
    assert [shown(f"online_metric{end}", **labels) for end in ("", "_low", "_high")] == [0.08, 0.07, 0.09]
    assert math.isnan(shown("online_metric_low", **{**labels, "version": "10"}) or 0.0)
    [family] = [each for each in shown.registry.collect() if each.name == "flywheel_online_metric"]
    assert len(family.samples) == 2


@pytest.mark.parametrize("file", [f"verdicts/{SYSTEM}.jsonl", f"verdicts/findings/{SYSTEM}.ParityFinding.json"])
def test_a_damaged_file_takes_no_other_systems_figures_and_is_told_of_once(
    settings: Settings, now: datetime, file: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (SYSTEM, OTHER):
        wiring.verdicts(settings).append(judged(now, system=name))
        wiring.findings(settings).keep(replace(parity(now, 100), system=name))
    with (settings.state_dir / file).open("a") as damaged:
        damaged.write('{"something": "else"}\n')
    monkeypatch.setattr(verdict_metrics, "LOOK", -1.0)  # every look reads
    shown = Shown(settings)
    for _ in range(2):
        assert (shown("monitor_readable"), shown("monitor_alive"), shown("quality_loss")) == (0.0, 0.0, None)
        assert (shown("monitor_readable", OTHER), shown("monitor_alive", OTHER)) == (1.0, 1.0)
    assert len(caplog.messages) == 1
    assert SYSTEM in caplog.messages[0]


def test_files_are_read_once_for_many_looks(settings: Settings, now: datetime) -> None:
    wiring.verdicts(settings).append(judged(now))
    shown = Shown(settings)
    assert shown("quality_loss") == 0.31
    wiring.verdicts(settings).append(judged(now + MINUTE, loss=0.5))
    assert shown("quality_loss") == 0.31


def families() -> Iterator[str]:
    for line in (ROOT / "infra" / "prometheus" / "README.md").read_text().splitlines():
        if line.startswith("| `flywheel_") and "component" not in line:
            yield line.split("`")[1]


def test_the_text_for_prometheus_holds_every_family_of_the_readme_and_no_other(settings: Settings) -> None:
    text = generate_latest(Shown(settings).registry).decode()
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")} == set(families())


def test_it_stays_light() -> None:
    """It lives in the flow runner: neither a system's estimator nor what reads tables is imported for it."""
    heavy = ("prefect", "pandas", "sklearn")
    told = f"import sys, pipelines.verdict_metrics; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
