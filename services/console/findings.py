"""The newest findings in sentences: of when they are, what they come to, and that there are none yet."""

from collections.abc import Sequence
from datetime import datetime

from contracts.findings import OnlineFigures, ParityFinding, WindowDetails
from services.console.quantities import ago
from services.console.sources import Detail, Readings
from services.console.stores import Findings

NO_WINDOW = "No window has been judged in detail yet."
NO_CALIBRATION = "The calibration of the newest window is not known: too few of its rows have matured."
NO_VERDICT = "No window has been judged yet."
NO_ONLINE = "The system's own metrics have not been measured yet."
NO_PARITY = "Served features have not been held against recomputed ones yet."


def sentences(found: Findings, fault: str, now: datetime) -> dict[str, Sequence[str]]:
    """By part of the page; where the findings cannot be read, why."""
    if fault:
        return {part: [fault] for part in ("window", "online", "parity")}
    return {
        "window": [_window(found.window, now)],
        "online": _online(found.online, now),
        "parity": _parity(found.parity, now),
    }


def nothing(readings: Readings, detail: Detail, newest: Findings) -> dict[str, str]:
    """What each picture and table says while it is empty: that there is nothing yet, or why it is not known."""
    verdicts, findings = detail.verdicts.fault, readings.findings.fault
    return {
        "quality": verdicts or NO_VERDICT,
        "estimates": verdicts or "No window has been estimated yet.",
        "calibration": findings or (NO_CALIBRATION if newest.window else NO_WINDOW),
        "concept": verdicts or "No label has been tested for concept drift yet.",
        "shifts": verdicts or "No column has been judged yet.",
        "events": verdicts or findings or "Nothing has happened yet: no alarm, no decision, no retraining.",
        "runs": readings.runs.fault or "Prefect knows of no training in the last two days.",
        "versions": detail.versions.fault or "No version has been registered yet.",
        "verdicts": verdicts or NO_VERDICT,
    }


def _window(found: WindowDetails | None, now: datetime) -> str:
    if found is None:
        return NO_WINDOW
    shifted = sum(each.state == "shifted" for each in found.columns)
    of = f"Window of version {found.model_version}, judged {ago(found.at, now)}:"
    if not found.columns:
        return f"{of} its columns could not be judged."
    return f"{of} {shifted} of {len(found.columns)} columns shifted."


def _online(found: OnlineFigures | None, now: datetime) -> list[str]:
    if found is None:
        return [NO_ONLINE]
    when = f"From {found.since:%Y-%m-%d %H:%M} UTC on, measured {ago(found.at, now)}."
    return [when if found.figures else f"{when} No outcome has matured.", *found.agreement]


def _parity(found: ParityFinding | None, now: datetime) -> list[str]:
    if found is None:
        return [NO_PARITY]
    return [f"{found.words} Looked {ago(found.at, now)}."]
