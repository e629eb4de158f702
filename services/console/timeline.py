"""What happened to a system, newest first: alarms, decisions, retrainings with their end, versions that took over."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from contracts.records import Verdict
from infra.retrainings import Kept
from services.console.quantities import span

STARTED = {True: "by itself", False: "asked for"}
WORSE = {"refused": "warn", "failed": "bad", "died": "bad", "cancelled": "warn", "promoted": "good"}


@dataclass(frozen=True)
class Event:
    """Something that happened, on the platform's clock; `state` colours it."""

    at: datetime
    kind: str
    said: str
    state: str = ""


def timeline(verdicts: Sequence[Verdict], retrainings: Sequence[Kept]) -> list[Event]:
    """All events, newest first; verdicts are given oldest first."""
    events = [*_alarms(verdicts), *_decisions(verdicts), *_takeovers(verdicts), *_retrainings(retrainings)]
    return sorted(events, key=lambda each: each.at, reverse=True)


def _alarms(verdicts: Sequence[Verdict]) -> Iterator[Event]:
    """Where something began: an alarm that stands is told once, and so is its end."""
    tests: dict[str, tuple[str, Callable[[Verdict], bool | None]]] = {
        "quality": ("bad", lambda each: each.harmed),
        "concept": ("bad", lambda each: each.concept_drifted),
        "data": ("warn", lambda each: each.drifted),
    }
    for name, (state, test) in tests.items():
        raised = False
        for each in verdicts:
            found = test(each)
            if found and not raised:
                yield Event(each.at, f"alarm: {name}", _alarm(name, each), state)
            elif found is False and raised:
                yield Event(each.at, f"{name} again as expected", f"Version {each.model_version} serves.", "good")
            raised = raised if found is None else found


def _alarm(name: str, verdict: Verdict) -> str:
    if name == "quality":
        return (
            f"Log loss of version {verdict.model_version} is {verdict.loss:.4f} on {verdict.labelled_rows:,} matured "
            f"rows (at least {verdict.loss_low:.4f}), reference {verdict.reference_loss:.4f}."
        )
    if name == "concept":
        since = f", since about {verdict.concept_since:%Y-%m-%d %H:%M} UTC" if verdict.concept_since else ""
        return f"Version {verdict.model_version} errs more than on its hold-out{since}."
    columns = f"Shifted: {', '.join(verdict.drifted_columns[:5]) or 'no single column'}."
    return verdict.drift_words or columns


def _decisions(verdicts: Sequence[Verdict]) -> Iterator[Event]:
    """Each decision where it differs from the one before."""
    said = ""
    for each in verdicts:
        if each.decision and each.decision != said:
            yield Event(each.at, "decision", each.decision)
        said = each.decision or said


def _takeovers(verdicts: Sequence[Verdict]) -> Iterator[Event]:
    for before, after in pairwise(verdicts):
        if before.model_version != after.model_version:
            said = f"Monitoring sees version {after.model_version} serve, in place of {before.model_version}."
            yield Event(after.at, "takeover", said, "good")


def _retrainings(found: Sequence[Kept]) -> Iterator[Event]:
    for each in found:
        run = each.retraining
        yield Event(run.started, "retraining", f"{STARTED[run.automatic].capitalize()}: {each.reason}")
        if run.ended is not None and run.end is not None:
            of = f"Version {each.version}. " if each.version else ""
            took = f"It took {span(run.ended - run.started)} of the platform's time."
            yield Event(
                run.ended,
                f"retraining {run.end}",
                " ".join(filter(None, (of.strip(), each.said, took))),
                WORSE[run.end],
            )
