"""A training set through Feast, as `pipelines/training_rows.py` has it made: rows with the features of three views as
of each row's own moment. Beside it Feast's default offline store, and its DuckDB one, on the same rows and states."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.isolated import settings_in
from benchmarks.paths.alone import OURS, Cost, alone
from benchmarks.paths.data import DEFAULT, JOINED
from benchmarks.paths.plan import TIMES, Plan
from benchmarks.paths.runs import Say, plain, told
from contracts.errors import FlywheelError
from infra.settings import Settings

COMPARATORS = ("file", "duckdb")  # the first is Feast's default


def measure(plan: Plan, folder: Path, say: Say) -> dict[str, Any]:
    """Costs by contender and size, as many as there were repeats; FlywheelError when two contenders' values differ."""
    settings = {times: settings_in(folder / str(times)) for times in TIMES}
    for times, each in settings.items():
        say(f"writes the states of {times} × {plan.users + plan.items + plan.categories:,} entities and the rows")
        alone(each, "prepare_join", plan=vars(plan), times=times)
    costs: dict[str, dict[int, list[Cost]]] = {name: {} for name in (OURS, *COMPARATORS)}
    for _ in range(plan.repeats):
        for times, each in settings.items():
            cost = _joined(each, OURS)
            costs[OURS].setdefault(times, []).append(cost)
            told(say, f"{OURS}, {times * plan.rows:,} rows", cost)
    shared = {}
    for name in COMPARATORS:
        cost = _joined(settings[1], name)
        costs[name][1] = [cost]
        told(say, f"Feast's {name!r}, {plan.rows:,} rows", cost)
        shared[name] = same(settings[1], name)
    sizes = {"rows": plan.rows, "views": len(JOINED.features.views), "features": len(JOINED.features.names)}
    return {"costs": plain(costs), "sizes": sizes, "same": shared}


def _joined(settings: Settings, contender: str) -> Cost:
    return alone(settings, "join", contender, values=str(values_of(settings, contender)))


def same(settings: Settings, comparator: str) -> dict[str, int]:
    """How many rows and values of a comparator are the same as ours, and how many rows it left out.

    Feast's default store drops a row for which some view has states and none at or before the row that is within the
    ttl, where the others give nulls. `FlywheelError` for a value that differs, and for a row that was left out although
    each view had a value for it.
    """
    with np.load(values_of(settings, OURS)) as ours, np.load(values_of(settings, comparator)) as theirs:
        values, rows = ours["values"], theirs["rows"]
        if different := int(np.count_nonzero(values[rows] != theirs["values"])):
            raise FlywheelError(f"{different:,} values are not those of Feast's {comparator!r} store.")
    kept = np.bincount(rows, minlength=len(values))
    whole = (values != DEFAULT).all(axis=1)
    if wrong := int(np.count_nonzero(kept > 1) + np.count_nonzero(whole & (kept == 0))):
        raise FlywheelError(f"Feast's {comparator!r} store has {wrong:,} rows twice, or not at all without a reason.")
    return {"rows": len(rows), "values": len(rows) * values.shape[1], "left_out": len(values) - len(rows)}


def values_of(settings: Settings, contender: str) -> Path:
    return settings.path("benchmark", f"{contender}.npz").absolute()
