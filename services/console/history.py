"""A system over time, as its page draws it: quality beside its reference, columns that drifted, and what was done.

Times are the platform's: those of the verdicts, and of the trainings as their versions carry them.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from contracts.records import ModelVersion, Verdict
from services.console.loop import trained_at

MOST_COLUMNS = 15  # in the picture: those that drifted most often


def history(verdicts: Sequence[Verdict], versions: Sequence[ModelVersion], margin: float | None) -> dict[str, Any]:
    """Verdicts (oldest first) and versions as the script's charts take them; what is not known is null. `drifted` has
    for each of `columns` the positions of the windows in which it did."""
    columns = often(verdicts)
    return {
        "at": [each.at.isoformat() for each in verdicts],
        "loss": finite(each.loss for each in verdicts),
        "low": finite(each.loss_low for each in verdicts),
        "reference": finite(each.reference_loss for each in verdicts),
        "harm": finite(each.reference_loss + (math.nan if margin is None else margin) for each in verdicts),
        "alarms": [{"at": each.at.isoformat(), "loss": each.loss} for each in verdicts if each.harmed],
        "marks": list(marks(verdicts, versions)),
        "columns": columns,
        "drifted": [[i for i, each in enumerate(verdicts) if name in each.drifted_columns] for name in columns],
    }


def often(verdicts: Iterable[Verdict]) -> list[str]:
    """The columns that drifted most often, the most often last, as a chart stacks them."""
    counted = Counter(name for each in verdicts for name in each.drifted_columns)
    return [name for name, _ in counted.most_common(MOST_COLUMNS)][::-1]


def marks(verdicts: Sequence[Verdict], versions: Sequence[ModelVersion]) -> Iterator[dict[str, str]]:
    """Trainings, and versions that monitoring first saw serve, within the time of the verdicts."""
    if not verdicts:
        return
    for version in versions:
        if trained_at(version) >= verdicts[0].at:
            refused = version.tags.get("gate") == "refused"
            said = f"version {version.version} {'refused' if refused else 'trained'}"
            yield {"at": trained_at(version).isoformat(), "kind": "refused" if refused else "trained", "said": said}
    for before, after in pairwise(verdicts):
        if before.model_version != after.model_version:
            yield {"at": after.at.isoformat(), "kind": "serves", "said": f"version {after.model_version} serves"}


def finite(values: Iterable[float]) -> list[float | None]:
    """Numbers, and null for what is none: JSON knows no NaN."""
    return [value if math.isfinite(value) else None for value in values]
