"""Where monitoring stands on a system: its last verdict in words, and whether that is still worth anything.

A monitor that died leaves its last verdict behind, and a page that went on showing it would be green for ever. So a
verdict is good for a few of the monitor's periods (`infra/heartbeat.py`); after that nothing is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from contracts.records import Verdict
from infra.heartbeat import heartbeat
from services.console.quantities import ago, loss, number, span

State = Literal["good", "warn", "bad", "unknown"]
QUALITY = {None: "inconclusive", True: "fell", False: "held"}
CONCEPT = {None: "inconclusive", True: "drifted", False: "steady"}
DRIFT = {None: "inconclusive", True: "drifted", False: "steady"}


@dataclass(frozen=True)
class Standing:
    """A state with its words; `verdict` is the last one, whatever it is worth, and `silence` says why it is worth
    nothing, where it is. Where another version serves by now, nothing is known of it."""

    state: State
    word: str
    quality: str
    concept: str
    drift: str
    looked: str
    verdict: Verdict | None
    silence: str = ""
    replaced: bool = False  # the version that the last verdict is about serves no longer

    @property
    def fresh(self) -> bool:
        return not self.silence


def standing(verdicts: Sequence[Verdict], period: timedelta, now: datetime, serves: str | None = None) -> Standing:
    """Where monitoring stands, by a system's verdicts (oldest first), at `now` on the platform's clock, in whose time
    the monitor looks once a `period`. `serves` is the version that does, where that is known."""
    beat = heartbeat(verdicts, period, now)
    last = verdicts[-1] if verdicts else None
    if last is None or beat.state == "unknown":
        looked = f"{ago(last.at, now)}, too long" if last else "never"
        return Standing("unknown", "unknown", "unknown", "unknown", "unknown", looked, last, _sentence(beat.words))
    if serves is not None and last.model_version != serves:
        said = f"version {serves} is not judged yet"
        return Standing("unknown", "not judged yet", said, said, said, ago(last.at, now), last, replaced=True)
    state, word = judged(last)
    quality, concept, drift = QUALITY[last.harmed], CONCEPT[last.concept_drifted], DRIFT[last.drifted]
    return Standing(state, word, quality, concept, drift, ago(last.at, now), last)


def _sentence(words: str) -> str:
    said = words.removeprefix("unknown: ")
    return f"{said[:1].upper()}{said[1:]}."


def judged(verdict: Verdict) -> tuple[State, str]:
    """A verdict's state and word; inconclusive is never good."""
    if verdict.harm:
        return "bad", "quality fell" if verdict.harmed else "concept drift"
    if verdict.drifted:
        return "warn", "data drifted"
    if verdict.harm is None or verdict.drifted is None:
        return "unknown", "inconclusive"
    return "good", "quality held"


def outcome_lag(verdict: Verdict | None, now: datetime) -> timedelta | None:
    """How old the newest row is whose outcome is known to monitoring: the labelled window ends as much before the
    served one as it begins before it. None before a verdict that says where both begin."""
    if verdict is None or verdict.served_since is None:
        return None
    return now - verdict.until + (verdict.served_since - verdict.since)


def in_words(found: Standing) -> list[tuple[str, str]]:
    """A standing as figures."""
    shown = [("quality", found.quality), ("concept", found.concept), ("data", found.drift), ("looked", found.looked)]
    if (verdict := found.verdict) is not None and found.fresh and not found.replaced:
        if verdict.labelled_rows:
            shown.append(("loss", f"{loss(verdict.loss)}, reference {loss(verdict.reference_loss)}"))
        if verdict.concept_labels:
            evidence = f"{number(verdict.concept_evidence)} of {number(verdict.concept_threshold)}"
            shown.append(("evidence of a changed concept", evidence))
        shown.append(("matured rows", f"{verdict.labelled_rows:,}"))
        shown.append(("columns drifted", f"{len(verdict.drifted_columns)}"))
    return shown


def since_in_words(verdict: Verdict, now: datetime) -> str:
    """Since when the champion seems worse, where monitoring can tell."""
    return f" since about {span(now - verdict.concept_since)} ago" if verdict.concept_since else ""
