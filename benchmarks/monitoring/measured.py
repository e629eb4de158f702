"""What a benchmark of monitoring hands back, and how it is kept: figures, where they come from, and their picture."""

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
import psutil
from matplotlib.figure import Figure
from rich.console import RenderableType

from benchmarks.figures import rounded
from contracts.errors import NotFound

SEED = 2026_11_21  # no method was changed after figures of this seed were looked at
RESULTS = Path(__file__).with_name("results")
PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "evidently", "river")
DIGITS = 6  # significant ones that are kept: more are of no machine's doing but this one's

Show = Callable[[RenderableType], None]
Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Benchmark:
    """`run` takes quick, seed and where the tables go, and hands back figures as JSON can hold them; `picture` draws
    such figures, as they were kept."""

    run: Callable[[bool, int, Show], Figures]
    picture: Callable[[Figures], Figure]


@dataclass(frozen=True)
class About:
    """Where figures come from. `seconds` are a processor's, not a clock's: other work on the machine does not count."""

    date: str
    code: str  # see `method`: of what was measured
    seed: int
    quick: bool
    seconds: float
    machine: str
    versions: Mapping[str, str]


def about(code: str, seed: int, quick: bool, seconds: float) -> About:
    """This machine and its packages, today."""
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB"
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    return About(date.today().isoformat(), code, seed, quick, round(seconds, 1), machine, versions)  # noqa: DTZ011 (a day)


def keep(folder: Path, name: str, figures: Figures, origin: About) -> None:
    """Write NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"about": asdict(origin), "figures": rounded(figures, DIGITS)}
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")


def draw(folder: Path, name: str, picture: Callable[[Figures], Figure]) -> None:
    """Write NAME.svg from what was kept; the same figures make the same picture, byte by byte."""
    with mpl.rc_context({"svg.hashsalt": "flywheel"}):
        picture(kept(folder, name)["figures"]).savefig(folder / f"{name}.svg", metadata={"Date": None})


def kept(folder: Path, name: str) -> dict[str, Any]:
    """What `keep` wrote: {"about": …, "figures": …}; `NotFound` where that was never done."""
    path = folder / f"{name}.json"
    if not path.exists():
        raise NotFound(f"There are no figures of {name!r}: run python -m benchmarks.monitoring --only {name}.")
    found: dict[str, Any] = json.loads(path.read_text())
    return found
