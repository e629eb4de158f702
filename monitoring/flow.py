"""The `monitor` flow: judge the latest window, raise the alarm first, then render and keep what was found.

Prefect is allowed here besides pipelines/: the flow is monitoring's own, and pipelines/deployments.py names it by a
string only. The alarm is an event; an automation in Prefect turns it into a run of `retrain`.
"""

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import flow, get_run_logger

import systems
from contracts.records import ModelVersion, Verdict
from contracts.system import System
from infra import wiring
from infra.settings import Settings
from monitoring.judge import SCORE, Window, judge_quality, latest_window, verdict
from monitoring.quality import Loss

QUALITY_FELL = "flywheel.quality.fell"
REFERENCE = "holdout.parquet"  # the artifact that a training run leaves: hold-out rows, their features, and scores
REFERENCE_SCORE = "score: "  # … each in a column named for its model


@flow(name="monitor", flow_run_name="monitor-{system}")
def monitor(system: str) -> None:
    """Judge the latest window of a system's log."""
    settings, say = Settings.load(), get_run_logger().info
    chosen = systems.load(system)
    champion = wiring.registry(settings).resolve(system, "champion")
    if champion is None:
        say(f"{system} has no champion yet: there is nothing to judge.")
        return
    window = latest_window(wiring.archive(settings), chosen, champion, wiring.clock(settings).now())
    loss, harm = judge_quality(chosen, champion, window)
    if harm:
        wiring.dispatcher(settings).emit(QUALITY_FELL, system, alarm(chosen, champion, loss))
    found = verdict(chosen, champion, window, (loss, harm), _drift(settings, chosen, champion, window))
    wiring.verdicts(settings).append(found)
    say(in_words(found))


def alarm(system: System, champion: ModelVersion, loss: Loss) -> dict[str, Any]:
    """The event's payload: what the automation hands to `retrain`."""
    return {
        "system": system.name,
        "reason": f"quality of version {champion.version} fell: log loss {loss.mean:.4f} on {loss.rows:,} matured "
        f"rows, where a model as good as it was on its hold-out would lose {loss.reference:.4f}",
        "cooldown_seconds": system.monitoring.cooldown.total_seconds(),
    }


def in_words(found: Verdict) -> str:
    """A verdict in one line."""
    quality = {None: "inconclusive", True: "fell", False: "held"}[found.harmed]
    drift = {None: "inconclusive", True: "drifted", False: "steady"}[found.drifted]
    worst = f" ({', '.join(found.drifted_columns[:3])})" if found.drifted_columns else ""
    return (
        f"Version {found.model_version}: quality {quality} (loss {found.loss:.4f}, at least {found.loss_low:.4f}, "
        f"as on its hold-out {found.reference_loss:.4f}, {found.labelled_rows:,} labelled rows); data {drift}: "
        f"{len(found.drifted_columns)} columns shifted{worst}, {found.feature_rows:,} rows."
    )


def _drift(settings: Settings, system: System, champion: ModelVersion, window: Window):  # type: ignore[no-untyped-def]  # Drift | None, whose module is not imported before it is needed
    if len(window.served) < system.monitoring.min_rows:
        return None
    from monitoring.dashboards import keep  # Evidently takes 3 to 6 s to import: the alarm is out by now
    from monitoring.drift import compare

    columns = [*system.features.names, SCORE]
    reference = _reference(settings, system, champion)[columns]
    drift = compare(window.served[columns], reference, system.monitoring.drift_share, window.until)
    keep(settings.path("evidently", "workspace").parent, system.name, drift.snapshot)
    return drift


def _reference(settings: Settings, system: System, champion: ModelVersion) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        path = wiring.tracker(settings).download(champion.run_id, REFERENCE, Path(folder))
        return pd.read_parquet(path).rename(columns={REFERENCE_SCORE + system.model.name: SCORE})
