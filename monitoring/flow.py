"""The `monitor` flow: judge the latest window, raise the alarm first, then look closer, keep what was found and decide.

Prefect is allowed here besides pipelines/: the flow is monitoring's own, and pipelines/deployments.py names it by a
string only. The alarm is an event; an automation in Prefect turns it into a run of `retrain`.
"""

import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pandas as pd
from prefect import flow, get_run_logger

import systems
from contracts.findings import WindowDetails
from contracts.records import ModelVersion, Verdict
from contracts.system import System
from infra import wiring
from infra.holdout_columns import FILE
from infra.holdout_columns import SCORE as MODELS_SCORE
from infra.retrain_policy import Decision
from infra.settings import Settings
from monitoring.alarm import announce, decided
from monitoring.attempts import Attempts
from monitoring.concept import judge_concept
from monitoring.data import judge_data
from monitoring.estimate import estimate_window
from monitoring.found import Found, in_words, no_concept, no_data, no_estimate, verdict
from monitoring.judge import SCORE, Window, judge_quality, latest_window
from monitoring.pictures import drawn, due


@flow(name="monitor", flow_run_name="monitor-{system}")
def monitor(system: str) -> None:
    """Judge the latest window of a system's log."""
    settings, say, chosen = Settings.load(), get_run_logger().info, systems.load(system)
    champion = wiring.registry(settings).resolve(system, "champion")
    if champion is None:
        say(f"{system} has no champion yet: there is nothing to judge.")
        return
    window = latest_window(wiring.archive(settings), chosen, champion, wiring.clock(settings).now())
    attempts = Attempts(say)
    kept = Look(settings, chosen, champion, window, attempts).pass_on()
    for line in (*in_words(kept), kept.decision):
        say(line)
    attempts.close()


@dataclass(frozen=True)
class Look:
    """One window on its way to a verdict and an alarm."""

    settings: Settings
    system: System
    champion: ModelVersion
    window: Window
    attempts: Attempts

    def pass_on(self) -> Verdict:
        """Judge, keep and raise the alarm: the verdict as it is kept."""
        sure = self._harm()
        early = decided(self.settings, self.system, self.champion, self._verdict(sure))
        announce(self.settings, early, self._verdict(sure), self.attempts.say)  # before what takes seconds
        found = self._looked_closer(sure)
        self.attempts.at("Evidently's report", self._picture, lambda why: None)
        return self._kept(found, early)

    def _harm(self) -> Found:
        """What labels say: all that is known when the alarm may be in a hurry."""
        parts = self.settings, self.system, self.champion, self.window
        loss, harmed = judge_quality(self.system, self.champion, self.window)
        concept = self.attempts.at("Concept drift", lambda: judge_concept(*parts), no_concept)
        return Found(loss, harmed, concept, no_data("not judged yet"), no_estimate("not estimated yet"))

    def _looked_closer(self, sure: Found) -> Found:
        parts = self.settings, self.system, self.champion, self.window
        data = self.attempts.at("Data drift", lambda: judge_data(*parts, self._shifted()), no_data)
        estimated = self.attempts.at("Performance without labels", lambda: estimate_window(*parts), no_estimate)
        if estimated.refusal:
            self.attempts.say(f"No estimate: {estimated.refusal}")
        return replace(sure, data=data, estimated=estimated)

    def _kept(self, found: Found, early: Decision) -> Verdict:
        """The verdict goes to the disk before its event: an event may get lost."""
        complete = self._verdict(found)
        decision = early if early.retrain else decided(self.settings, self.system, self.champion, complete)
        complete = replace(complete, decision=decision.words)
        wiring.verdicts(self.settings).append(complete)
        if not early.retrain:
            announce(self.settings, decision, complete, self.attempts.say)
        columns, bins = tuple(found.data.findings), tuple(found.estimated.calibration)
        details = WindowDetails(self.system.name, complete.at, complete.model_version, columns, bins)
        wiring.findings(self.settings).keep(details)
        return complete

    def _verdict(self, found: Found) -> Verdict:
        return verdict(self.system, self.champion, self.window, found)

    def _shifted(self) -> set[datetime]:
        """Where windows begin that were found drifted: they say nothing of what is usual."""
        kept = wiring.verdicts(self.settings).read(self.system.name)
        return {each.served_since for each in kept if each.drifted and each.served_since}

    def _picture(self) -> None:
        """Evidently shows the window beside the champion's hold-out; what it finds decides nothing."""
        mark = self.settings.path("verdicts", "pictures", self.system.name)
        if len(self.window.served) < self.system.monitoring.min_rows or not due(mark, self.window.until):
            return
        from monitoring.dashboards import keep  # Evidently takes 3 to 6 s to import: the alarm is out by now
        from monitoring.drift import compare

        columns = [*self.system.features.names, SCORE]
        reference = _reference(self.settings, self.system, self.champion)[columns]
        drift = compare(self.window.served[columns], reference, self.system.monitoring.drift_share, self.window.until)
        keep(self.settings.path("evidently", "workspace").parent, self.system.name, drift.snapshot)
        drawn(mark, self.window.until)


def _reference(settings: Settings, system: System, champion: ModelVersion) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        path = wiring.tracker(settings).download(champion.run_id, FILE, Path(folder))
        return pd.read_parquet(path).rename(columns={MODELS_SCORE + system.model.name: SCORE})
