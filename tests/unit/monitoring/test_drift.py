"""Evidently finds what shifted, and its workspace keeps a project a system and a bounded number of snapshots."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

from monitoring import dashboards
from monitoring.drift import compare
from tests.conftest import poll

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


def slowly(write: Callable[..., Any]) -> Callable[..., Any]:
    """The file is there, empty, for longer than an observer takes to open it."""

    def dump(content: Any, file: Any, **options: Any) -> None:
        time.sleep(0.2)
        write(content, file, **options)

    def copy(source: str, target: Path, **options: Any) -> Any:
        Path(target).touch()
        time.sleep(0.2)
        return write(source, target, **options)

    return dump if write is json.dump else copy


@contextmanager
def observed(folder: Path, handler: FileSystemEventHandler) -> Iterator[None]:
    """What happens in the folder goes to the handler, as in Evidently's UI; its own observer is never stopped."""
    observer = Observer()
    observer.schedule(handler, str(folder), recursive=True)
    observer.start()
    try:
        yield
    finally:
        observer.stop()
        observer.join()


def test_the_running_ui_shows_a_new_project_however_slow_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evidently.ui.service.storage.local import create_local_project_manager  # warns, but not when it is here
    from evidently.ui.service.storage.local.base import LocalState
    from evidently.ui.service.storage.local.watcher import WorkspaceDirHandler

    state = LocalState.load(str(tmp_path), None)
    create_local_project_manager(str(tmp_path), autorefresh=False, state=state)
    monkeypatch.setattr(json, "dump", slowly(json.dump))
    monkeypatch.setattr(shutil, "copyfile", slowly(shutil.copyfile))
    with observed(tmp_path, WorkspaceDirHandler(state)):
        for system in ("ad_click", "fraud_detection"):
            drift = compare(frame(1), frame(9), share=0.3, until=NOW)
            dashboards.keep(tmp_path, system, drift.snapshot)
            (shown,) = poll(lambda system=system: [p for p in state.projects.values() if p.name == system], what=system)
            poll(lambda shown=shown: state.snapshots[shown.id], what="its snapshot")
