"""The tables of README files that show what was measured, written from `results/`.

A table stands between `<!-- measured: NAME -->` and `<!-- end -->`; what is between is never written by hand.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.monitoring import readme_tables as tables
from benchmarks.monitoring.measured import RESULTS, kept
from contracts.errors import InvalidInput

ROOT = Path(__file__).parents[2]
FILES = (ROOT / "README.md", ROOT / "monitoring" / "README.md")
BLOCK = re.compile(r"(<!-- measured: (?P<name>[a-z-]+) -->\n)(?:.*?\n)??(<!-- end -->)", re.DOTALL)

Results = Mapping[str, Mapping[str, Any]]  # by benchmark
TABLES: dict[str, Callable[[Results], str]] = {
    "targets": tables.targets,
    "data-drift-alarms": tables.alarms,
    "data-drift-found": tables.found,
    "data-drift-defaults": tables.defaults,
    "data-drift-edges": tables.edges,
    "concept-drift-detectors": tables.detectors,
    "concept-drift-conditions": tables.conditions,
    "estimated-performance": tables.estimates,
    "where-from": tables.where_from,
}


def results(folder: Path = RESULTS) -> Results:
    """What the last full run of each benchmark kept."""
    return {name: kept(folder, name) for name in ("data_drift", "concept_drift", "estimated_performance")}


def rewrite(files: tuple[Path, ...] = FILES, folder: Path = RESULTS) -> None:
    """Write every marked table anew."""
    found = results(folder)
    for path in files:
        path.write_text(written(path.read_text(), found))


def written(text: str, found: Results) -> str:
    """The text with its marked tables as these results make them; `InvalidInput` for a mark that names no table."""

    def table(block: "re.Match[str]") -> str:
        if (name := block["name"]) not in TABLES:
            raise InvalidInput(f"There is no table {name!r} to be written: name one of {', '.join(TABLES)}.")
        return f"{block[1]}{TABLES[name](found)}\n{block[3]}"

    return BLOCK.sub(table, text)
