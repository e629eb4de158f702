"""Evidently finds what shifted, and its workspace keeps a project a system and a bounded number of snapshots."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring import dashboards
from monitoring.drift import compare

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")  # Evidently's own
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def frame(seed: int, shifted: float = 0.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    columns = {f"f{i}": random.normal(size=2_000) for i in range(6)}
    return pd.DataFrame(columns | {"constant": np.zeros(2_000)}).assign(f3=lambda rows: rows["f3"] + shifted)


def test_the_shifted_column_is_named() -> None:
    drift = compare(frame(1, shifted=1.0), frame(2), share=0.3, until=NOW)
    assert drift.columns == ("f3",)
    assert drift.share == pytest.approx(1 / 7)


def test_the_same_distribution_is_steady() -> None:
    assert compare(frame(1), frame(2), share=0.3, until=NOW).columns == ()


def test_the_workspace_keeps_the_newest_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboards, "MOST_SNAPSHOTS", 2)
    for hour in range(3):
        drift = compare(frame(hour), frame(9), share=0.3, until=NOW + timedelta(hours=hour))
        dashboards.keep(tmp_path, "ad_click", drift.snapshot)
    workspace = dashboards.Workspace.create(str(tmp_path))
    (project,) = workspace.list_projects()
    kept = [workspace.get_run(project.id, run) for run in workspace.list_runs(project.id)]
    assert sorted(run.timestamp.hour for run in kept if run) == [13, 14]
    assert len(project.dashboard.model().panels) == 2
