"""What monitoring found, for Prometheus: gauges read out of the files that its flows leave behind.

Verdicts are made in processes that end with their flow, and what a person is told must outlive them. The flow runner,
which lives on, shows the newest ones on its own `/metrics`. All is told by what is written: 1 and 0 for yes and no, NaN
for inconclusive, and no sample at all where nothing was ever found. Files are looked at every `LOOK` seconds at most;
ages grow in between.
"""

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import get_args

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

import systems
from contracts.errors import FlywheelError
from contracts.findings import OnlineFigures, ParityFinding
from contracts.ports import Clock
from contracts.records import Verdict
from infra import wiring
from infra.clock import pace
from infra.heartbeat import heartbeat, monitor_period
from infra.retrain_policy import End, History, Rules, decide
from infra.retrainings import Kept
from infra.settings import Settings

LOOK = 10.0  # seconds for which what was read is shown
RECENT = 100  # verdicts: more than a day of them; sustained drift is found in the newest few
LOG = logging.getLogger("flywheel.verdict_metrics")

OF_VERDICT: Mapping[str, tuple[str, Callable[[Verdict], float | None]]] = {
    "quality_loss": ("Mean log loss a row of the champion in its latest window of matured labels", lambda v: v.loss),
    "quality_loss_low": ("Its one-sided lower bound", lambda v: v.loss_low),
    "quality_reference_loss": ("What a model as good as on its hold-out would lose there", lambda v: v.reference_loss),
    "quality_labelled_rows": ("Rows with matured labels that were judged", lambda v: v.labelled_rows),
    "quality_fell": ("1 where the loss is above the reference by more than the margin", lambda v: v.harmed),
    "concept_drifted": ("1 where the champion is worse than it was, by every label since", lambda v: v.concept_drifted),
    "concept_evidence": ("Logarithm of the evidence for that; an alarm at the threshold", lambda v: v.concept_evidence),
    "concept_threshold": ("What the evidence must reach", lambda v: v.concept_threshold),
    "concept_labels": ("Predictions with labels that the test has seen", lambda v: v.concept_labels),
    "data_drifted": ("1 where the latest window of served rows has drifted", lambda v: v.drifted),
    "data_drifted_columns": ("Columns that have shifted in it", lambda v: len(v.drifted_columns)),
    "data_rows": ("Served rows that were judged", lambda v: v.feature_rows),
    "estimated_loss": ("Mean log loss expected without labels; blind to concept drift", lambda v: v.estimated_loss),
    "estimated_loss_low": ("The lower end of its 95% interval", lambda v: v.estimated_low),
    "estimated_loss_high": ("The upper end of its 95% interval", lambda v: v.estimated_high),
}


@dataclass(frozen=True)
class Found:
    """What the files say of one system; nothing where they cannot be read."""

    system: str
    readable: bool = True
    verdicts: Sequence[Verdict] = ()
    retrainings: Sequence[Kept] = ()
    sustained: bool = False  # whether drift is
    parity: ParityFinding | None = None
    online: OnlineFigures | None = None


class VerdictMetrics(Collector):
    """A collector for Prometheus' client: it reads when it is asked."""

    def __init__(self, settings: Settings, names: Callable[[], Sequence[str]] = systems.names) -> None:
        self._settings, self._names = settings, names
        self._found: Sequence[Found] = ()
        self._looked = -math.inf

    def collect(self) -> Iterator[Metric]:
        """All families, whatever is there, so that every name in a rule is one that is shown."""
        clock, found = wiring.clock(self._settings), self._read()
        judged = [(each.system, max(each.verdicts, key=lambda v: v.at)) for each in found if each.verdicts]
        yield _gauge(
            "monitor_readable", "1 where what monitoring left can be read", ((f.system, f.readable) for f in found)
        )
        yield from _heartbeats(found, clock)
        for name, (what, value) in OF_VERDICT.items():
            yield _gauge(name, what, [(system, value(verdict)) for system, verdict in judged])
        sustained = [(each.system, each.sustained) for each in found if each.verdicts]
        yield _gauge("data_drift_sustained", "1 where 2 of the last 3 windows that share no row drifted", sustained)
        yield from _retrainings(found)
        yield from _parity([each.parity for each in found if each.parity], clock.now())
        yield from _online([each.online for each in found if each.online], clock.now())

    def _read(self) -> Sequence[Found]:
        if time.monotonic() - self._looked > LOOK:
            known = {each.system for each in self._found if not each.readable}
            self._found = [self._of(name, known) for name in self._names()]
            self._looked = time.monotonic()
        return self._found

    def _of(self, system: str, known: Collection[str]) -> Found:
        """`known` are the systems of which nothing could be read the last time either: they were told of."""
        findings = wiring.findings(self._settings)
        try:
            verdicts = wiring.verdicts(self._settings).read(system, RECENT)
            return Found(
                system,
                verdicts=verdicts,
                retrainings=wiring.retrainings(self._settings).read(system),
                sustained=_sustained(system, verdicts),
                parity=findings.read(ParityFinding, system),
                online=findings.read(OnlineFigures, system),
            )
        except (FlywheelError, OSError, ValueError, KeyError, TypeError) as error:  # the other systems are shown
            if system not in known:
                LOG.warning("what monitoring found of %s cannot be read: %s: %s", system, type(error).__name__, error)
            return Found(system, readable=False)


def _sustained(system: str, verdicts: Sequence[Verdict]) -> bool:
    """Whether drift is sustained as the policy on retraining sees it, whatever else it sees."""
    if not verdicts:
        return False
    latest = max(verdicts, key=lambda each: each.at)
    of_data = [replace(each, harmed=None, concept_drifted=None) for each in verdicts]
    rules = Rules.of(systems.monitoring(system))
    return decide(History(of_data, (), latest.model_version), rules, latest.at).alarm is not None


def _heartbeats(found: Sequence[Found], clock: Clock) -> Iterator[Metric]:
    now, period = clock.now(), monitor_period(pace(clock), len(found))
    beats = [(each.system, heartbeat(each.verdicts, period, now)) for each in found]
    alive = [(system, beat.state == "fresh") for system, beat in beats]
    yield _gauge("monitor_alive", "1 while verdicts come as often as they are due; 0: nothing is known", alive)
    ages = [(system, _age(beat.last, now)) for system, beat in beats if beat.last]
    yield _gauge("monitor_verdict_age_seconds", "Seconds of the platform's time since the last verdict", ages)


def _retrainings(found: Sequence[Found]) -> Iterator[Metric]:
    ended = CounterMetricFamily("flywheel_retrainings", "Runs of retrain that ended, by how", labels=["system", "end"])
    for each in found:
        ends = [kept.retraining.end for kept in each.retrainings]
        for end in get_args(End):
            ended.add_metric([each.system, end], ends.count(end))
    yield ended
    running = [(each.system, any(kept.retraining.ended is None for kept in each.retrainings)) for each in found]
    yield _gauge("retraining_running", "1 while a run of retrain has begun and not ended", running)
    refused = [(each.system, _refused_in_a_row(each.retrainings)) for each in found]
    yield _gauge("retrainings_refused_in_a_row", "Candidates that the gate refused since one was promoted", refused)


def _refused_in_a_row(retrainings: Sequence[Kept]) -> int:
    count = 0
    for kept in reversed(retrainings):
        if kept.retraining.end == "promoted":
            break
        count += kept.retraining.end == "refused"
    return count


def _parity(found: Sequence[ParityFinding], now: datetime) -> Iterator[Metric]:
    rows = [(each.system, each.rows) for each in found]
    yield _gauge("parity_rows", "Served rows of the latest window that were compared with recomputed ones", rows)
    features = [(each.system, len(each.differing) if each.rows else None) for each in found]
    yield _gauge("parity_differing_features", "Features that were served otherwise than they are recomputed", features)
    differing = GaugeMetricFamily(
        "flywheel_parity_differing_rows",
        "In how many rows one does; only features that do",
        labels=["system", "feature"],
    )
    for each in found:
        for column in each.differing:
            differing.add_metric([each.system, column.name], column.rows)
    yield differing
    ages = [(each.system, _age(each.at, now)) for each in found]
    yield _gauge("parity_age_seconds", "Seconds of the platform's time since the end of that window", ages)


def _online(found: Sequence[OnlineFigures], now: datetime) -> Iterator[Metric]:
    """Of each version as a whole: by slice they are in the console, for Prometheus they would be too many series."""
    labels = ["system", "metric", "unit", "version"]
    value = GaugeMetricFamily("flywheel_online_metric", "What a version earned, from matured outcomes", labels=labels)
    low = GaugeMetricFamily("flywheel_online_metric_low", "The lower end of its 95% interval", labels=labels)
    high = GaugeMetricFamily("flywheel_online_metric_high", "The upper end of its 95% interval", labels=labels)
    for figures in found:
        for each in (figure for figure in figures.figures if not figure.slice):
            of = [figures.system, each.metric, each.unit, each.version]
            value.add_metric(of, each.value)
            low.add_metric(of, _number(each.low))
            high.add_metric(of, _number(each.high))
    yield from (value, low, high)
    ages = [(each.system, _age(each.at, now)) for each in found]
    yield _gauge("online_metrics_age_seconds", "Seconds of the platform's time since they were measured", ages)


def _gauge(name: str, what: str, samples: Iterable[tuple[str, float | None]]) -> Metric:
    family = GaugeMetricFamily(f"flywheel_{name}", what, labels=["system"])
    for system, value in samples:
        family.add_metric([system], _number(value))
    return family


def _number(value: float | None) -> float:
    """Yes and no as 1 and 0, what cannot be told as NaN."""
    return math.nan if value is None else float(value)


def _age(at: datetime, now: datetime) -> float:
    return max((now - at).total_seconds(), 0.0)
