"""Where monitoring stands on a system: its last verdict in words, and whether that is still worth anything.

A monitor that died leaves its last verdict behind, and a page that went on showing it would be green for ever. So a
verdict is good for three of the monitor's periods; after that nothing is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Literal

from contracts.records import Verdict
from services.console.quantities import ago, loss, span

State = Literal["good", "warn", "bad", "unknown"]
PERIOD = timedelta(minutes=15)  # of the platform's time; the schedule's, unless it is seen to be slower
PERIODS = 3
LATEST = 5  # verdicts, from which the pace is seen: a clock that runs fast leaves windows out
QUALITY = {None: "inconclusive", True: "fell", False: "held"}
DRIFT = {None: "inconclusive", True: "drifted", False: "steady"}


@dataclass(frozen=True)
class Standing:
    """A state with its words; `verdict` is the last one, whatever it is worth."""

    state: State
    word: str
    quality: str
    drift: str
    looked: str
    verdict: Verdict | None
    fresh: bool = True


def standing(verdicts: Sequence[Verdict], now: datetime) -> Standing:
    """Where monitoring stands, by a system's verdicts (oldest first), at `now` on the platform's clock."""
    if not verdicts:
        return Standing("unknown", "unknown", "unknown", "unknown", "never", None, False)
    last = verdicts[-1]
    looked = ago(last.at, now)
    if (silent := now - last.at) > PERIODS * period(verdicts):
        said = f"{span(silent)} ago, too long"
        return Standing("unknown", "unknown", "unknown", "unknown", said, last, False)
    state, word = judged(last)
    return Standing(state, word, QUALITY[last.harmed], DRIFT[last.drifted], looked, last)


def judged(verdict: Verdict) -> tuple[State, str]:
    """A verdict's state and word; inconclusive is never good."""
    if verdict.harmed:
        return "bad", "quality fell"
    if verdict.drifted:
        return "warn", "data drifted"
    if verdict.harmed is None or verdict.drifted is None:
        return "unknown", "inconclusive"
    return "good", "quality held"


def period(verdicts: Sequence[Verdict]) -> timedelta:
    """How often the monitor looks: the schedule's period, or its pace of late where that is slower."""
    times = [verdict.at for verdict in verdicts[-LATEST:]]
    gaps = [after - before for before, after in pairwise(times)]
    return max(PERIOD, timedelta(seconds=median(gap.total_seconds() for gap in gaps))) if gaps else PERIOD


def in_words(found: Standing) -> list[tuple[str, str]]:
    """A standing as figures."""
    shown = [("quality", found.quality), ("data", found.drift), ("looked", found.looked)]
    if (verdict := found.verdict) is not None and found.fresh:
        if verdict.labelled_rows:
            shown.append(("loss", f"{loss(verdict.loss)}, reference {loss(verdict.reference_loss)}"))
        shown.append(("matured rows", f"{verdict.labelled_rows:,}"))
        shown.append(("columns drifted", f"{len(verdict.drifted_columns)}"))
    return shown
