"""The loop as the first page draws it: its seven boxes and the arrows between them, with figures in words.

One function a box: readings in, what the box shows out. The page and the script that keeps it up to date are given the
same, so that they cannot differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Literal

from contracts.records import ModelVersion
from services.console.quantities import UNKNOWN, ago, loss, number, rate, seconds, share, span
from services.console.serving import serves
from services.console.sources import Readings
from services.console.standing import Standing, in_words, outcome_lag, standing
from services.console.traffic import Gain, Traffic, traffic

State = Literal["good", "warn", "bad", "unknown", "idle"]
Figures = Sequence[tuple[str, str]]
BEHIND = 1_000  # entries in the log and not in the archive: more than a few seconds of a busy gateway


@dataclass(frozen=True)
class Box:
    """A part of the loop: its state with a word for it, what is wrong in sentences, its figures by label."""

    state: State
    word: str
    figures: Figures = ()
    fault: str = ""


@dataclass(frozen=True)
class Look:
    """The readings as one system's, or all systems', at a moment: `now` is the platform's time."""

    readings: Readings
    now: datetime
    period: timedelta  # of the monitor, in the platform's time
    requests: Gain | None
    records: Gain | None
    system: str | None = None
    machine: datetime = field(default_factory=lambda: datetime.now(UTC))  # what Prefect's times are of

    @property
    def names(self) -> tuple[str, ...]:
        return (self.system,) if self.system else self.readings.names

    @property
    def traffic(self) -> Traffic | None:
        known = self.requests is not None and self.readings.gateway.value is not None
        return traffic(self.requests, self.system) if known and self.requests else None

    def standings(self) -> dict[str, Standing]:
        """Where monitoring stands on each."""
        found, serving = self.readings.verdicts.value or {}, self.readings.champions.value or {}
        versions = {name: each.version for name, each in serving.items()}
        return {name: standing(found.get(name, ()), self.period, self.now, versions.get(name)) for name in self.names}


def boxes(look: Look) -> dict[str, Box]:
    """All boxes, in the order of the loop."""
    return {
        "client": client(look),
        "gateway": gateway(look),
        "features": features(look),
        "serving": serving(look),
        "log": log(look),
        "training": training(look),
        "monitoring": monitoring(look),
    }


def arrows(look: Look) -> dict[str, str]:
    """What flows from each box to the next, by the box it leaves."""
    now = look.traffic
    archived = _archived(look, "prediction")
    return {
        "client": f"{rate(now.predictions)} requests" if now else UNKNOWN,
        "gateway": f"{number(now.rows)} rows a request" if now else UNKNOWN,
        "features": f"read in {seconds(now.stages['features'].p50)}" if now else UNKNOWN,
        "serving": f"logged in {seconds(now.stages['log'].p50)}" if now else UNKNOWN,
        "log": f"{rate(archived)} archived" if archived is not None else UNKNOWN,
        "training": _gate_word(look),
        "monitoring": _closing(look),
    }


def client(look: Look) -> Box:
    """The clients, as the gateway sees them."""
    if (now := look.traffic) is None:
        return _unmeasured(look)
    word = "calling" if now.predictions else "silent"
    figures = [("requests", rate(now.predictions)), ("outcomes", rate(now.outcomes))]
    return Box("good" if now.predictions else "idle", word, figures)


def gateway(look: Look) -> Box:
    """What a client waits for, beside what the requirements ask."""
    if (now := look.traffic) is None:
        return _unmeasured(look, down=True)
    figures = [
        ("p50", seconds(now.whole.p50)),
        ("p99", f"{seconds(now.whole.p99)} of {seconds(now.target)}"),
        ("refused", rate(now.refused)),
        ("by the fallback", share(now.fallback)),
    ]
    state, word = _pace(now)
    return Box(state, word, figures)


def features(look: Look) -> Box:
    """How quickly features are read, how many are too old, and when they were last brought online."""
    runs = look.readings.runs
    moments = [found.materialized for name, found in (runs.value or {}).items() if name in look.names]
    known = [moment for moment in moments if moment is not None]
    online = ago(min(known), look.machine) if known else "not within 3 h" if runs.value else UNKNOWN
    if (now := look.traffic) is None:
        return _unmeasured(look, figures=[("brought online", online)])
    read = now.stages["features"]
    figures = [
        ("read p50", seconds(read.p50)),
        ("read p99", seconds(read.p99)),
        ("too old", _views(now.stale)),
        ("unknown", _views(now.missing)),
        ("brought online", online),
    ]
    if now.stale > 0:
        return Box("warn", "stale", figures, runs.fault)
    return Box("good" if now.predictions else "idle", "fresh" if now.predictions else "idle", figures, runs.fault)


def serving(look: Look) -> Box:
    """Which versions answer, since when, and how much of the traffic."""
    if (found := look.readings.champions.value) is None:
        return Box("bad", "down", (), look.readings.champions.fault)
    mine = {name: found[name] for name in look.names if name in found}
    figures = [
        (
            name if look.system is None else "version",
            serves(each, look.now, _by_version(look, name)),
        )
        for name, each in mine.items()
    ]
    if (now := look.traffic) is not None:
        score = now.stages["score"]
        figures += [("score p50, p99", f"{seconds(score.p50)}, {seconds(score.p99)}")]
        figures += [("by the fallback", share(now.fallback))]
    faults = " ".join(f"{name}: {each.error}" for name, each in mine.items() if each.error)
    lacking = [name for name, each in mine.items() if each.version is None]
    if faults or lacking:
        return Box("warn", "fault" if faults else "no model", figures, faults)
    return Box("good", "serving", figures)


def _by_version(look: Look, system: str) -> Mapping[str, float]:
    """The share of a system's answers that each version gave."""
    mine = replace(look, system=system).traffic
    return mine.versions if mine else {}


def _views(a_request: float) -> str:
    return UNKNOWN if isnan(a_request) else f"{number(a_request)} views a request" if a_request else "none"


def log(look: Look) -> Box:
    """How far the archive is behind the log, and what comes in."""
    if (scrape := look.readings.recorder.value) is None:
        return Box("bad", "down", (), look.readings.recorder.fault)
    lag, dead = (scrape.total(f"flywheel_recorder_{each}") for each in ("lag", "dead_letters"))
    age = scrape.total("flywheel_recorder_last_write_age_seconds")
    predictions, outcomes = (_archived(look, kind) for kind in ("prediction", "outcome"))
    figures = [
        ("not archived yet", number(lag)),
        ("predictions", UNKNOWN if predictions is None else rate(predictions)),
        ("outcomes", UNKNOWN if outcomes is None else rate(outcomes)),
        ("outcome lag", _outcome_lag(look)),
        ("last write", UNKNOWN if isnan(age) else f"{seconds(age)} ago"),
        ("dead letters", number(dead)),
    ]
    if lag > BEHIND or dead:
        return Box("warn", "behind" if lag > BEHIND else "dead letters", figures)
    return Box("good", "recording", figures)


def _outcome_lag(look: Look) -> str:
    """How old the newest rows are whose outcomes monitoring knows; of all systems, the oldest."""
    lags = {name: outcome_lag(each.verdict, look.now) for name, each in look.standings().items()}
    known = {name: lag for name, lag in lags.items() if lag is not None}
    if not known:
        return "no window judged yet"
    name = max(known, key=lambda each: known[each])
    return span(known[name]) if look.system else f"{span(known[name])} ({name})"


def training(look: Look) -> Box:
    """The last training: its metrics on the hold-out, and what the gate said."""
    models, runs = look.readings.models, look.readings.runs
    fault = " ".join(filter(None, (models.fault, runs.fault)))
    running = [name for name in look.names if (found := (runs.value or {}).get(name)) and found.under_way]
    version = newest(look)
    figures = [("now", f"training {', '.join(running)}")] if running else []
    figures += trained(version, look.now) if version else []
    if models.value is None:
        return Box("unknown", "unknown", figures, fault)
    if running:
        return Box("good", "training", figures, fault)
    if version is None:
        return Box("idle", "not yet trained", figures, fault)
    refused = version.tags.get("gate") == "refused"
    return Box("warn" if refused else "good", "last one refused" if refused else "up to date", figures, fault)


def trained(version: ModelVersion, now: datetime) -> Figures:
    """A version as the last training's figures."""
    metrics = version.metrics
    shown = [("log loss", "log_loss"), ("normalised", "normalised_cross_entropy"), ("ROC-AUC", "roc_auc")]
    return [
        ("last", f"{version.system} version {version.version}, {ago(trained_at(version), now)}"),
        *((label, loss(metrics[name])) for label, name in shown if name in metrics),
        ("gate", version.tags.get("gate", "not judged yet")),
    ]


def trained_at(version: ModelVersion) -> datetime:
    """When a version was trained, on the platform's clock; MLflow's own time is the machine's."""
    written = version.tags.get("trained_at")
    return datetime.fromisoformat(written) if written else version.created_at


def monitoring(look: Look) -> Box:
    """What monitoring found last, and whether it still looks."""
    if look.readings.verdicts.value is None:
        return Box("unknown", "unknown", (), look.readings.verdicts.fault)
    found = look.standings()
    worst = _worst(found.values())
    silence = worst.silence if worst and worst.verdict and look.system else ""
    if look.system is not None:
        columns = worst.verdict.drifted_columns[:3] if worst and worst.fresh and worst.verdict else ()
        figures = [*in_words(worst), *([("most", ", ".join(columns))] if columns else [])] if worst else []
    else:
        figures = [(name, f"{each.word}, looked {each.looked}") for name, each in found.items()]
    return Box(worst.state, worst.word, figures, silence) if worst else Box("unknown", "unknown")


def newest(look: Look) -> ModelVersion | None:
    """The version that was trained last."""
    found = look.readings.models.value or {}
    versions = [each for name in look.names if (models := found.get(name)) and (each := models.challenger)]
    return max(versions, key=trained_at, default=None)


def _worst(found: Iterable[Standing]) -> Standing | None:
    order = {"bad": 0, "unknown": 1, "warn": 2, "good": 3}
    return min(found, key=lambda each: order[each.state], default=None)


def _pace(now: Traffic) -> tuple[State, str]:
    if not now.predictions:
        return "idle", "idle"
    if now.whole.p99 > now.target:
        return "warn", "slow"
    return ("warn", "without model") if now.fallback > 0 else ("good", "on time")


def _unmeasured(look: Look, figures: Figures = (), down: bool = False) -> Box:
    """A box whose figures come from the gateway: it does not answer, or was asked only once."""
    if fault := look.readings.gateway.fault:
        return Box("bad", "down", figures, fault) if down else Box("unknown", "unknown", figures)
    return Box("idle", "measuring", figures)


def _archived(look: Look, kind: str) -> float | None:
    if look.records is None or look.readings.recorder.value is None:
        return None
    return look.records.of("flywheel_recorder_records_total", kind=kind, system=look.system) / look.records.seconds


def _gate_word(look: Look) -> str:
    version = newest(look)
    return f"gate {version.tags['gate']}" if version and "gate" in version.tags else UNKNOWN


def _closing(look: Look) -> str:
    """How the loop was last closed."""
    found = look.readings.runs.value or {}
    last = [runs.trainings[0] for name, runs in found.items() if name in look.names and runs.trainings]
    if not last:
        return "retrains on harm"
    run = max(last, key=lambda each: each.started_at or look.machine)
    return f"{run.name} {run.state}, {ago(run.started_at, look.machine)}"
