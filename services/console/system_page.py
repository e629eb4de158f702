"""A system's own page: where it stands, its history, its tables, and the two acts: retrain and roll back."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from contracts.errors import NotFound
from contracts.ports import Clock
from infra.clock import pace
from infra.heartbeat import monitor_period
from infra.settings import Settings
from services.console import links, series, tables, window
from services.console.alarms import alarms
from services.console.findings import nothing, sentences
from services.console.history import quality
from services.console.loop import Look, boxes
from services.console.sources import Detail, Readings, Sources
from services.console.stores import Findings
from services.console.timeline import timeline

ACTS = {  # what is asked before it is done
    "retrain": (
        "Retrain {system} now?",
        "The log is brought in, a model is trained on what there is now, and the gate decides whether it serves. "
        "It takes a minute or more; training takes what serving leaves of the machine.",
        "Retrain",
    ),
    "rollback": (
        "Roll {system} back?",
        "The champion before the present one serves again, within seconds and without a judgement of the gate.",
        "Roll back",
    ),
}
DONE = re.compile("[0-9a-f-]{1,36}")  # a run's id, or a version
COLUMNS = {
    "runs": ("run", "state", "started", "took", "ended with"),
    "versions": ("version", "trained", "log loss", "gate", "why"),
    "verdicts": ("looked", "of", "quality", "log loss", "matured rows", "concept", "data"),
    "online": ("metric", "of", "where", "value", "95% interval", "rows"),
    "parity": ("feature", "rows that differ", "how"),
    "events": ("at (UTC)", "ago", "what", "in words"),
}


class SystemPage:
    """Makes what a system's page shows, and does what it is told."""

    def __init__(self, settings: Settings, sources: Sources, clock: Clock) -> None:
        self._settings, self._sources, self._clock = settings, sources, clock

    async def page(self, system: str, host: str, query: Mapping[str, str]) -> dict[str, Any]:
        """What the template needs; `NotFound` when there is no such system."""
        readings, detail = await self._read(system)
        return {
            "system": system,
            "shown": self._shown(readings, detail, system, host),
            "columns": COLUMNS,
            "done": done(query),
            "model": links.model_page(self._settings, host, system),
            "report": links.report_page(self._settings, host, readings.projects.value, system),
            "prefect": f"{links.seen_from(self._settings.prefect, host)}/runs",
        }

    async def figures(self, system: str, host: str) -> dict[str, Any]:
        """The same for the script."""
        readings, detail = await self._read(system)
        return self._shown(readings, detail, system, host)

    async def ask(self, system: str, act: str) -> dict[str, str]:
        """What is asked before an act."""
        await self._known(system)
        question, about, button = ACTS[act]
        return {"system": system, "question": question.format(system=system), "about": about, "button": button}

    async def do(self, system: str, act: str) -> str:
        """Do it: the run's id, or the version that serves again."""
        await self._known(system)
        stores = self._sources.stores
        made = await stores.retrain(system) if act == "retrain" else (await stores.rollback(system)).version
        self._sources.forget()
        return made

    async def _known(self, system: str) -> None:
        if system not in (names := (await self._sources.read()).names):
            raise NotFound(f"No system {system[:100]!r} is ready. Known: {', '.join(names) or 'none yet'}.")

    async def _read(self, system: str) -> tuple[Readings, Detail]:
        await self._known(system)
        return await asyncio.gather(self._sources.read(), self._sources.detail(system))

    def _shown(self, readings: Readings, detail: Detail, system: str, host: str) -> dict[str, Any]:
        now, machine, sources = self._clock.now(), datetime.now(UTC), self._sources
        period = monitor_period(pace(self._clock), len(readings.names))
        look = Look(readings, now, period, sources.requests.gain(), sources.records.gain(), system, machine)
        found = detail.verdicts.value or []
        newest = (readings.findings.value or {}).get(system, Findings())
        once_more = (detail.margin,) if readings.gateway.value is not None else ()  # else its fault is said already
        faults = [each.fault for each in (detail.versions, detail.verdicts, *once_more) if each.fault]
        return {
            "at": f"{machine:%H:%M:%S} UTC",
            "boxes": {name: asdict(box) for name, box in boxes(look).items()},
            "charts": {
                "quality": quality(found, detail.versions.value or (), detail.margin.value),
                "estimates": series.estimates(found),
                "concept": series.concept(found),
                "shifts": series.shifts(found),
                "calibration": window.calibration(newest.window),
            },
            "columns": window.columns(newest.window),
            "said": sentences(newest, readings.findings.fault, now),
            "nothing": nothing(readings, detail, newest),
            "tables": self._tables(look, detail, newest, host),
            "alarms": list(dict.fromkeys([*alarms(look), *faults])),
        }

    def _tables(self, look: Look, detail: Detail, newest: Findings, host: str) -> dict[str, tables.Rows]:
        settings, system = self._settings, look.system or ""
        found = detail.verdicts.value or []
        models, runs = (look.readings.models.value or {}).get(system), (look.readings.runs.value or {}).get(system)
        champion = models.champion.version if models and models.champion else ""
        return {
            "online": tables.online(newest.online),
            "parity": tables.parity(newest.parity),
            "events": tables.events(timeline(found, newest.retrainings), look.now),
            "runs": tables.runs(settings, host, runs.trainings if runs else (), look.machine),
            "versions": tables.versions(settings, host, detail.versions.value or (), champion, look.now),
            "verdicts": tables.verdicts(found, look.now),
        }


def done(query: Mapping[str, str]) -> tuple[str, str] | None:
    """What was just done, as the address says: the act, and the run or the version."""
    act, what = query.get("done", ""), query.get("what", "")
    return (act, what) if act in ACTS and DONE.fullmatch(what) else None
