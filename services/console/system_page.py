"""A system's own page: where it stands, its history, its tables, and the two acts: retrain and roll back."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from contracts.errors import NotFound
from contracts.ports import Clock
from infra.settings import Settings
from services.console import links, tables
from services.console.history import history
from services.console.loop import Look, boxes
from services.console.sources import Detail, Readings, Sources

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
    "verdicts": ("looked", "of", "quality", "log loss", "matured rows", "data"),
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
        settings, now, machine = self._settings, self._clock.now(), datetime.now(UTC)
        sources = self._sources
        look = Look(readings, now, sources.requests.gain(), sources.records.gain(), system, machine)
        found = (readings.verdicts.value or {}).get(system, [])
        versions = detail.versions.value or ()
        models, runs = (readings.models.value or {}).get(system), (readings.runs.value or {}).get(system)
        champion = models.champion.version if models and models.champion else ""
        every = (readings.verdicts, readings.runs, readings.models, detail.versions, detail.margin)
        return {
            "at": f"{machine:%H:%M:%S} UTC",
            "boxes": {name: asdict(box) for name, box in boxes(look).items()},
            "history": history(found, versions, detail.margin.value),
            "tables": {
                "runs": tables.runs(settings, host, runs.trainings if runs else (), machine),
                "versions": tables.versions(settings, host, versions, champion, now),
                "verdicts": tables.verdicts(found, now),
            },
            "alarms": list(dict.fromkeys(each.fault for each in every if each.fault)),
        }


def done(query: Mapping[str, str]) -> tuple[str, str] | None:
    """What was just done, as the address says: the act, and the run or the version."""
    act, what = query.get("done", ""), query.get("what", "")
    return (act, what) if act in ACTS and DONE.fullmatch(what) else None
