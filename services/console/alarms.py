"""What somebody should know, in sentences: what a page says above everything else."""

from collections.abc import Iterator
from datetime import datetime

from services.console.loop import Look
from services.console.standing import Standing, since_in_words


def alarms(look: Look) -> list[str]:
    """What somebody should know, in sentences: parts that do not answer, quality that fell, data that drifted."""
    readings = look.readings
    faults = {
        each.fault: None
        for each in (
            *(readings.gateway, readings.recorder, readings.champions, readings.models),
            *(readings.runs, readings.verdicts, readings.findings, readings.projects),
        )
        if each.fault
    }
    found = [said for name, each in look.standings().items() for said in _alarms(name, each, look.now)]
    return [*faults, *found, *_differing(look)]


def _alarms(system: str, found: Standing, now: datetime) -> Iterator[str]:
    """What monitoring says of a system that somebody should know."""
    verdict = found.verdict
    if verdict is None:
        return  # nothing was ever judged: its box and row say so
    if not found.fresh:
        yield f"The monitor of {system} is silent. {found.silence}"
        return
    if found.replaced:
        return  # what it says is of a version that serves no longer
    if verdict.harmed:
        yield f"Quality of {system} fell."
    if verdict.concept_drifted:
        since = since_in_words(verdict, now)
        yield f"The concept of {system} drifted: version {verdict.model_version} errs more{since}."
    if verdict.drifted:
        yield f"Data of {system} drifted."


def _differing(look: Look) -> Iterator[str]:
    """Systems whose served features are not those that training would compute."""
    for name in look.names:
        parity = found.parity if (found := (look.readings.findings.value or {}).get(name)) else None
        if parity and parity.differing:
            columns = ", ".join(each.name for each in parity.differing[:3])
            yield f"Served features of {name} differ from the recomputed ones: {columns}."
