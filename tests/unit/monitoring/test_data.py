"""Data drift of a window: against past windows of the log, each of which is counted once and kept."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import numpy as np
import pytest

import systems
from contracts.records import FEATURES_UNAVAILABLE, ModelVersion, PredictionRecord
from contracts.system import AT, System
from infra import wiring
from infra.settings import Settings
from monitoring.data import MIN_WINDOWS, Data, judge_data
from monitoring.drift_history import columns_of, load, save, slot_of
from monitoring.judge import latest_window
from tests.conftest import settings_in

SYSTEM = systems.load("ad_click")
SPAN, NOW = SYSTEM.monitoring.window, datetime(2026, 3, 20, tzinfo=UTC)
PAGES, ROWS = 30, 6
PAST = MIN_WINDOWS + 4
NAMED = "user_impressions_7d"


def champion(version: str = "1") -> ModelVersion:
    return ModelVersion(SYSTEM.name, version, "", "", (), NOW)


def records(window: int, shift: float = 0.0, version: str = "1", **differing: Any) -> list[PredictionRecord]:
    """One window of the log, counted backwards from the latest, which is 0; one feature shifted, in σ."""
    random = np.random.default_rng([7, window + PAST])
    X = random.normal(size=(PAGES, ROWS, len(SYSTEM.features.names))).astype(np.float32)
    X[:, :, SYSTEM.features.names.index(NAMED)] += shift
    body = SYSTEM.task.request.model_validate(dict(SYSTEM.task.example))
    assert SYSTEM.serving.rows is not None
    rows = {name: np.resize(values, ROWS) for name, values in SYSTEM.serving.rows(body).items()}
    made = []
    for place, at in enumerate(np.sort(random.random(PAGES))):
        moment = NOW - SPAN * (window + 1 - float(at))
        record = PredictionRecord(
            prediction_id=f"{window}-{version}-{place}",
            system=SYSTEM.name,
            at=moment,
            model_version=version,
            variant="champion",
            request={},
            rows={**rows, AT: np.full(ROWS, moment.timestamp())},
            feature_names=SYSTEM.features.names,
            features=X[place],
            scores=random.random(ROWS) ** 2,
            shown=np.arange(ROWS),
            propensity=np.ones(ROWS),
            result={},
        )
        made.append(replace(record, **differing))
    return made


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of windows in which nothing changes, most of which were counted already."""
    folder = tmp_path_factory.mktemp("calm")
    settings = settings_with(folder, *(records(window) for window in range(1, PAST + 1)))
    assert judged(settings, later=-1).drifted is False
    return folder


@pytest.fixture
def folder(calm: Path, tmp_path: Path) -> Path:
    """A copy of the calm log, to be continued."""
    return copytree(calm, tmp_path / "state")


def settings_with(folder: Path, *parts: Sequence[PredictionRecord]) -> Settings:
    settings = settings_in(folder)
    wiring.archive(settings).append([record for part in parts for record in part])
    return settings


def judged(
    settings: Settings, later: int = 0, version: str = "1", shifted: Collection[datetime] = (), system: System = SYSTEM
) -> Data:
    now = NOW + later * SPAN
    window = latest_window(wiring.archive(settings), system, champion(version), now)
    return judge_data(settings, system, champion(version), window, shifted)


def test_a_window_like_the_past_is_steady(folder: Path) -> None:
    found = judged(settings_with(folder, records(0)))
    assert (found.drifted, found.columns, found.share) == (False, (), 0.0)
    assert set(found.effects) >= {*SYSTEM.features.names, "score"}
    assert {finding.state for finding in found.findings} == {"steady"}


def test_the_feature_that_shifted_is_named_with_its_effect(folder: Path) -> None:
    found = judged(settings_with(folder, records(0, shift=0.8)))
    assert (found.drifted, found.columns) == (True, (NAMED,))
    assert found.effects[NAMED] == pytest.approx(0.8, abs=0.25)
    (finding,) = (one for one in found.findings if one.state == "shifted")
    assert finding.p_value < 0.001
    assert sum(bar.now for bar in finding.bars) == pytest.approx(1)
    assert NAMED in found.words


def test_a_young_log_is_described_and_says_how_many_windows_are_wanting(tmp_path: Path) -> None:
    found = judged(settings_with(tmp_path, *(records(window) for window in range(1, 11)), records(0, shift=0.8)))
    assert found.drifted is None
    assert f"{MIN_WINDOWS - 10} more past windows are needed, {MIN_WINDOWS} in all" in found.words
    assert {finding.state for finding in found.findings} == {"inconclusive"}
    assert found.effects[NAMED] == pytest.approx(0.8, abs=0.3)


def test_without_any_past_nothing_is_said(tmp_path: Path) -> None:
    found = judged(settings_with(tmp_path, records(0)))
    assert (found.drifted, found.findings) == (None, ())
    assert f"{MIN_WINDOWS} are needed" in found.words


def test_a_champion_that_has_just_begun_is_not_compared(folder: Path) -> None:
    begun = [record for record in records(0, version="2") if record.at > NOW - SPAN / 3]
    found = judged(settings_with(folder, begun), version="2")
    assert found.drifted is None
    assert "of the window's 3.0 h only" in found.words


def test_the_past_is_kept_when_the_log_is_gone(folder: Path) -> None:
    settings = settings_with(folder, records(0))
    assert judged(settings).drifted is False
    rmtree(settings.path("log", "predictions"))
    wiring.archive(settings).append([replace(r, at=r.at + SPAN, rows=_later(r)) for r in records(0, shift=0.8)])
    assert judged(settings, later=1).columns == (NAMED,)


def test_windows_that_were_found_shifted_are_no_past(folder: Path) -> None:
    settings = settings_with(folder, records(0))
    shifted = [NOW - SPAN * (window + 1) for window in range(1, 7)]
    found = judged(settings, shifted=shifted)
    assert found.drifted is None
    assert "2 more past windows are needed" in found.words


def test_a_new_champion_has_features_with_a_past_and_a_score_without(folder: Path) -> None:
    found = judged(settings_with(folder, records(0, version="2")), version="2")
    assert found.drifted is False
    assert "score" not in found.effects


def test_a_champion_trained_amid_a_shift_takes_it_for_usual(folder: Path) -> None:
    settings = settings_with(folder, records(0, shift=0.8), records(-1, 0.8), records(-2, 0.8, "2"))
    first, second = judged(settings), judged(settings, later=1, shifted=[NOW - SPAN])
    assert (first.drifted, second.drifted) == (True, True)
    swapped = judged(settings, later=2, version="2")
    assert swapped.drifted is None
    assert f"{MIN_WINDOWS - 1} more past windows are needed" in swapped.words


def test_a_shift_that_has_lasted_as_long_as_a_past_is_usual(folder: Path) -> None:
    settings = settings_with(folder, records(0))
    path = settings.path("verdicts", "sketches", f"{SYSTEM.name}.npz")
    kept = load(path, columns_of(SYSTEM), slot_of(SPAN), NOW.timestamp())
    begun = NOW - SPAN * (MIN_WINDOWS + 2)
    save(path, replace(kept, shifted_since=begun.timestamp()))
    found = judged(settings, shifted=[begun + SPAN * window for window in range(MIN_WINDOWS + 1)])
    assert found.drifted is False


def test_features_that_could_not_be_read_are_missing_and_no_values(folder: Path) -> None:
    found = judged(settings_with(folder, records(0, degraded=(FEATURES_UNAVAILABLE,))))
    assert found.drifted is True
    by_name = {finding.name: finding for finding in found.findings}
    assert by_name["user: missing"].state == "shifted"
    assert (by_name[NAMED].missing_now, by_name[NAMED].missing_reference) == (1.0, 0.0)


def test_a_system_whose_features_changed_gets_a_new_past(folder: Path) -> None:
    settings = settings_with(folder, records(0))
    assert judged(settings).drifted is False
    fewer = replace(SYSTEM, features=replace(SYSTEM.features, views=SYSTEM.features.views[:-1]))
    found = judged(settings, system=fewer)
    assert found.drifted is None
    assert f"{MIN_WINDOWS} are needed" in found.words


def _later(record: PredictionRecord) -> dict[str, Any]:
    return {**record.rows, AT: np.asarray(record.rows[AT]) + SPAN.total_seconds()}
