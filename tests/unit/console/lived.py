"""Ten days that a system lived through, as monitoring would have left them on disk: calm, data drift, then a changed
concept, a retraining that was refused and one that was promoted."""

import math
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from contracts.findings import (
    Bar,
    CalibrationBin,
    ColumnFinding,
    OnlineFigure,
    OnlineFigures,
    ParityColumn,
    ParityFinding,
    WindowDetails,
)
from contracts.records import Verdict
from infra import wiring
from infra.retrainings import Retrainings, Started
from infra.settings import Settings

HOUR = timedelta(hours=1)
WINDOW, DELAY = 3 * HOUR, HOUR / 2
COLUMNS = (
    *("ad_clicks_1h", "ad_clicks_1d", "ad_click_rate_7d", "campaign_click_rate_1d", "user_impressions_1d"),
    *("user_click_rate_7d", "user_category_clicks_7d", "hour_sin", "hour_cos", "device_mobile", "bid", "score"),
)
STEPS, DRIFTS, CHANGES, RETRAINED = 120, 60, 80, 95  # a step is two hours


def live(settings: Settings, system: str, now: datetime) -> list[Verdict]:
    """Write all of it, the newest verdict at `now`; returns the verdicts."""
    findings, retrainings = wiring.findings(settings), wiring.retrainings(settings)
    random = np.random.default_rng(7)
    verdicts = [_verdict(system, now - 2 * HOUR * (STEPS - 1 - step), step, random) for step in range(STEPS)]
    for each in verdicts:
        wiring.verdicts(settings).append(each)
    for found in (_details(system, now, random), _online(system, now), _parity(system, now)):
        findings.keep(found)
    _retrain(retrainings, system, verdicts)
    return verdicts


def _verdict(system: str, at: datetime, step: int, random: np.random.Generator) -> Verdict:
    drifts, changed = step >= DRIFTS, CHANGES <= step < RETRAINED
    loss = 0.262 + random.normal(0, 0.004) + 0.012 * math.sin(step / 2) + changed * min(0.1, 0.012 * (step - CHANGES))
    reference = 0.262 + 0.012 * math.sin(step / 2)
    estimated = reference + random.normal(0, 0.003)
    evidence = max(0.0, random.normal(1.5, 0.6)) + changed * 1.1 * (step - CHANGES)
    shifted = ("user_impressions_1d", "ad_clicks_1h") if drifts and step < RETRAINED else ()
    return Verdict(
        system=system,
        at=at,
        since=at - WINDOW - DELAY,
        until=at,
        model_version="1" if step < RETRAINED else "3",
        labelled_rows=18_000 + int(random.integers(0, 900)),
        loss=loss,
        loss_low=loss - 0.006,
        reference_loss=reference,
        harmed=loss - 0.006 > reference + 0.05,
        feature_rows=56_000,
        drifted_columns=shifted,
        drift_share=len(shifted) / len(COLUMNS),
        drifted=bool(shifted),
        drift_words="Two columns lie farther off than calm windows do." if shifted else "No column lies off.",
        effects={name: float(random.normal(0, 0.04) + (0.45 if name in shifted else 0.0)) for name in COLUMNS},
        served_since=at - WINDOW,
        concept_drifted=evidence > 13.8,
        concept_evidence=evidence,
        concept_threshold=13.8,
        concept_labels=6_000 + 700 * (step % RETRAINED),
        concept_since=at - 6 * HOUR if evidence > 13.8 else None,
        estimated_loss=estimated,
        estimated_low=estimated - 0.008,
        estimated_high=estimated + 0.008,
        decision=_decision(step),
    )


def _decision(step: int) -> str:
    if step < DRIFTS + 2:
        return "Nothing asks for a retraining: quality held; data drifted in 0 of 3 windows."
    if step < CHANGES + 5:
        return "The data of version 1 drifted in 2 of the last 3 windows that had enough rows."
    return "The quality of version 1 fell." if step < RETRAINED else "A retraining has answered it."


def _details(system: str, at: datetime, random: np.random.Generator) -> WindowDetails:
    edges = np.linspace(0.02, 0.32, 10)
    bins = tuple(
        CalibrationBin(float(p), float(p * 1.04), float(p * 1.04 - 0.012), float(p * 1.04 + 0.012), 1_800)
        for p in edges
    )
    return WindowDetails(system, at, "3", tuple(_column(name, random) for name in COLUMNS), bins)


def _column(name: str, random: np.random.Generator) -> ColumnFinding:
    usual = np.exp(-(np.linspace(-2, 2, 10) ** 2))
    now = np.exp(-(np.linspace(-2.6, 1.4, 10) ** 2)) if name == "bid" else usual * random.uniform(0.9, 1.1, 10)
    bars = tuple(
        Bar(f"{i} to {i + 1}", float(a), float(b))
        for i, (a, b) in enumerate(zip(now / now.sum(), usual / usual.sum(), strict=True))
    )
    if name == "device_mobile":
        return ColumnFinding(name, "inconclusive", "location", None, math.nan, 0.41, 0.02, ())
    if name == "bid":
        return ColumnFinding(name, "shifted", "location", 0.61, 2e-9, 0.021, 0.019, bars)
    return ColumnFinding(name, "steady", "spread", 0.03, 0.74, 0.0, 0.0004, bars)


def _online(system: str, at: datetime) -> OnlineFigures:
    figures = [
        OnlineFigure("click_rate", "", version, where, value, value - 0.004, value + 0.004, rows)
        for version, where, value, rows in (
            ("1", "", 0.081, 90_200),
            ("3", "", 0.094, 18_400),
            ("3", "device = mobile", 0.102, 11_100),
            ("3", "device = desktop", 0.079, 7_300),
        )
    ]
    rare = OnlineFigure("hide_rate", "", "3", "", 0.0008, None, None, 18_400)
    agreement = "Whether log_loss (offline) and click_rate (online) order 2 versions alike cannot be told yet."
    return OnlineFigures(system, at, at - 12 * HOUR, (*figures, rare), (agreement,))


def _parity(system: str, at: datetime) -> ParityFinding:
    differing = (ParityColumn("ad_clicks_1h", 412, "served 1000 times what was recomputed"),)
    words = "412 of 20,000 rows × 12 features differ."
    return ParityFinding(system, at, at - 3 * HOUR, 20_000, 12, differing, words)


def _retrain(kept: Retrainings, system: str, verdicts: list[Verdict]) -> None:
    drifted, fell, took = verdicts[DRIFTS + 3].at, verdicts[RETRAINED - 2].at, HOUR
    with kept.alone(system):
        kept.begin(system, Started("refused-run", drifted, "its data drifted", "drift-1"))
        kept.end(system, "refused-run", drifted + took, "refused", "It is no better than version 1.", "2")
        kept.begin(system, Started("promoted-run", fell, "its quality fell", "harm-1"))
        kept.end(system, "promoted-run", fell + took, "promoted", "It is better than version 1.", "3")


def silent(verdict: Verdict) -> Verdict:
    """The same with nothing that needs labels or a past."""
    unknown = math.nan
    return replace(
        verdict,
        labelled_rows=0,
        loss=unknown,
        loss_low=unknown,
        reference_loss=unknown,
        harmed=None,
        drifted=None,
        drifted_columns=(),
        effects={},
        estimated_loss=unknown,
        concept_drifted=None,
        concept_labels=0,
    )
