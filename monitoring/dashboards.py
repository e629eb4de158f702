"""Evidently's workspace: a project a system, panels over time, and no more snapshots than are looked at."""

import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # see monitoring/drift.py
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import line_plot_panel
    from evidently.ui.service.storage.local.base import METADATA_PATH
    from evidently.ui.workspace import Project, Workspace

MOST_SNAPSHOTS = 720  # 30 days of hourly windows; the UI's memory grows with them


def keep(folder: Path, system: str, snapshot: Any) -> None:
    """Add a window's snapshot to its system's project; the oldest go when there are more than are kept."""
    project = _project(folder, system)
    workspace = Workspace.create(str(folder))
    workspace.add_run(project.id, snapshot, include_data=False)
    for old in sorted(workspace.list_runs(project.id))[:-MOST_SNAPSHOTS]:  # ids are UUIDv7: in order of time
        workspace.delete_run(project.id, old)


def _project(folder: Path, system: str) -> Project:
    for project in Workspace.create(str(folder)).search_project(system):
        if project.name == system:
            return project
    with tempfile.TemporaryDirectory() as apart:
        project = _drafted(Workspace.create(apart), system)
        _show(Path(apart, str(project.id)), folder / str(project.id))
    return project


def _drafted(workspace: Workspace, system: str) -> Project:
    project = workspace.create_project(system, description=f"Windows of {system} against its champion's reference.")
    for title, metric, label in (
        ("Columns that drifted", "DriftedColumnsCount", "count"),
        ("Share of columns that drifted", "DriftedColumnsCount", "share"),
    ):
        values = [PanelMetric(legend=label, metric=metric, metric_labels={"value_type": label})]
        project.dashboard.add_panel(line_plot_panel(title=title, values=values, size="half"), tab="Drift")
    return project


def _show(drafted: Path, shown: Path) -> None:
    """Copy a project's folder so that its metadata is whole in the moment it is there.

    Evidently's UI reads that file when it is created, and where it is not whole yet its observer ends: the UI would
    show nothing new until it is started again.
    """
    shutil.copytree(drafted, shown, ignore=shutil.ignore_patterns(METADATA_PATH))
    part = shown / f"{METADATA_PATH}.part"
    shutil.copyfile(drafted / METADATA_PATH, part)
    os.link(part, shown / METADATA_PATH)  # a rename is an event that the observer does not see
    part.unlink()
