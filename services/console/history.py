"""A system's quality over time, as its page draws it: beside its reference, with what was done."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from contracts.records import ModelVersion, Verdict
from services.console.loop import trained_at
from services.console.series import finite


def quality(verdicts: Sequence[Verdict], versions: Sequence[ModelVersion], margin: float | None) -> dict[str, Any]:
    """Verdicts (oldest first) and versions as the script's chart takes them; what is not known is null."""
    return {
        "at": [each.at.isoformat() for each in verdicts],
        "loss": finite(each.loss for each in verdicts),
        "low": finite(each.loss_low for each in verdicts),
        "reference": finite(each.reference_loss for each in verdicts),
        "harm": finite(each.reference_loss + (math.nan if margin is None else margin) for each in verdicts),
        "alarms": [{"at": each.at.isoformat(), "loss": each.loss} for each in verdicts if each.harmed],
        "marks": list(marks(verdicts, versions)),
    }


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
