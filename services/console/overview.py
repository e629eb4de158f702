"""The first page: the loop with live figures, of all systems or of one, and a row a system. Made once as a page, and
every two seconds as JSON for the script that keeps the page up to date."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from contracts.errors import NotFound
from contracts.ports import Clock
from infra.clock import pace
from infra.heartbeat import monitor_period
from infra.settings import Settings
from services.console import links
from services.console.alarms import alarms
from services.console.loop import Look, arrows, boxes
from services.console.rows import rows
from services.console.sources import Readings, Sources

TITLES = {
    "client": "Client",
    "gateway": "API Gateway",
    "features": "Feature Store",
    "serving": "Model Serving",
    "log": "Logging",
    "training": "Training Pipeline",
    "monitoring": "Monitoring",
}


class Overview:
    """Makes what the first page shows."""

    def __init__(self, settings: Settings, sources: Sources, clock: Clock) -> None:
        self._settings, self._sources, self._clock = settings, sources, clock

    async def page(self, system: str | None, host: str) -> dict[str, Any]:
        """What the template needs; `NotFound` when there is no such system."""
        look = await self._look(system)
        readings = look.readings
        return {
            "system": system,
            "names": readings.names,
            "titles": TITLES,
            "lines": readings.lines.value or (),
            "missing": readings.lines.fault,
            "shown": _shown(look),
            "box_links": self._box_links(readings, host, system),
            "pages": links.other_pages(self._settings, host),
            "models": {name: links.model_page(self._settings, host, name) for name in readings.names},
        }

    async def figures(self, system: str | None) -> dict[str, Any]:
        """The same figures for the script."""
        return _shown(await self._look(system))

    async def _look(self, system: str | None) -> Look:
        readings = await self._sources.read()
        if system is not None and system not in readings.names:
            raise NotFound(f"No system {system[:100]!r} is ready. Known: {', '.join(readings.names) or 'none yet'}.")
        sources, period = self._sources, monitor_period(pace(self._clock), len(readings.names))
        return Look(readings, self._clock.now(), period, sources.requests.gain(), sources.records.gain(), system)

    def _box_links(self, readings: Readings, host: str, system: str | None) -> Mapping[str, tuple[str, str]]:
        """Where each box leads: what it is called, and its address."""
        settings, pages = self._settings, links.other_pages(self._settings, host)
        models = links.model_page(settings, host, system) if system else f"{pages['MLflow']}/#/models"
        reports = links.report_page(settings, host, readings.projects.value, system or "")
        return {
            "gateway": ("API", pages["API"]),
            "features": ("Runs in Prefect", f"{pages['Prefect']}/runs"),
            "serving": ("Versions in MLflow", models),
            "training": ("Runs in Prefect", f"{pages['Prefect']}/runs"),
            "monitoring": ("Reports in Evidently", reports),
        }


def _shown(look: Look) -> dict[str, Any]:
    """Everything on the page that changes."""
    now = look.traffic
    scrape = look.readings.recorder.value
    series = {
        "client": now.predictions if now else math.nan,
        "gateway": now.whole.p99 * 1000 if now else math.nan,
        "features": now.stages["features"].p99 * 1000 if now else math.nan,
        "serving": now.stages["score"].p99 * 1000 if now else math.nan,
        "log": scrape.total("flywheel_recorder_lag") if scrape else math.nan,
    }
    return {
        "at": f"{datetime.now(UTC):%H:%M:%S} UTC",
        "boxes": {name: asdict(box) for name, box in boxes(look).items()},
        "arrows": arrows(look),
        "rows": {name: asdict(row) for name, row in rows(look).items()},
        "alarms": alarms(look),
        "series": {name: value if math.isfinite(value) else None for name, value in series.items()},
    }
