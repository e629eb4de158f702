"""What was measured and where: one file a measurement in `results/`."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import rounded
from benchmarks.paths.plan import SEED, Plan

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("feast", "duckdb", "dask", "pyarrow", "pandas", "redis", "numpy")
DIGITS = 4  # significant ones of a figure

Results = Mapping[str, Any]  # {"about": …, "figures": …}


def about(plan: Plan, busy: float) -> dict[str, Any]:
    """When, on what and in which sizes; `busy` cores were so before."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB",
        "busy_cores_before": round(busy, 2),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "seed": SEED,
        "plan": asdict(plan),
    }


def keep(folder: Path, name: str, origin: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Write NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"about": origin, "figures": rounded(figures, DIGITS)}
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")


def kept(name: str, folder: Path = RESULTS) -> Results | None:
    """What the last full run of a measurement kept; None before there was one."""
    path = folder / f"{name}.json"
    found: Results | None = json.loads(path.read_text()) if path.exists() else None
    return found
