"""Evidently's workspace: a project a system, panels over time, and no more snapshots than are looked at."""

import warnings
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # see monitoring/drift.py
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import line_plot_panel
    from evidently.ui.workspace import Project, Workspace

MOST_SNAPSHOTS = 720  # 30 days of hourly windows; the UI's memory grows with them


def keep(folder: Path, system: str, snapshot: Any) -> None:
    """Add a window's snapshot to its system's project; the oldest go when there are more than are kept."""
    workspace = Workspace.create(str(folder))
    project = _project(workspace, system)
    workspace.add_run(project.id, snapshot, include_data=False)
    for old in sorted(workspace.list_runs(project.id))[:-MOST_SNAPSHOTS]:  # ids are UUIDv7: in order of time
        workspace.delete_run(project.id, old)


def _project(workspace: Workspace, system: str) -> Project:
    for project in workspace.search_project(system):
        if project.name == system:
            return project
    project = workspace.create_project(system, description=f"Windows of {system} against its champion's reference.")
    for title, metric, label in (
        ("Columns that drifted", "DriftedColumnsCount", "count"),
        ("Share of columns that drifted", "DriftedColumnsCount", "share"),
    ):
        values = [PanelMetric(legend=label, metric=metric, metric_labels={"value_type": label})]
        project.dashboard.add_panel(line_plot_panel(title=title, values=values, size="half"), tab="Drift")
    return project
