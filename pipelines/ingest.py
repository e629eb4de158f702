"""The ingest pipeline: raw events into the event table, from a world, a user's file or the log of served predictions.

The three sources take one path: validate, set the bad rows aside, append, report. An event that is there already is not
appended again, so a run that died anywhere is mended by running it again.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import systems
from contracts.errors import InvalidInput
from contracts.ports import Archive
from contracts.system import System
from infra import wiring
from infra.live_history import logged_events
from infra.settings import Settings
from pipelines import catalogue
from pipelines import mapping as mappings
from pipelines.event_file import EventFile, open_event_file
from pipelines.reject import Reject, RejectFile
from pipelines.validation import Validator

LOG = "log"  # the watermark of the log of served predictions
OVERLAP = timedelta(hours=1)  # read again each time, for what the recorder brought in late
FRAME_ROWS = 100_000

Say = Callable[[str], None]


class Events(Protocol):
    """What ingest needs of the event table, which the wiring chooses."""

    def append(self, system: System, events: pd.DataFrame) -> int: ...

    def watermark(self, system: System, name: str) -> datetime | None: ...

    def set_watermark(self, system: System, name: str, at: datetime) -> None: ...


@dataclass(frozen=True)
class Report:
    """What became of the rows that were read: read = appended + already_there + rejected."""

    system: str
    source: str
    read: int = 0
    appended: int = 0
    already_there: int = 0
    rejected: dict[str, int] = field(default_factory=dict)  # by reason
    reject_file: str | None = None
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.read / max(self.seconds, 1e-9)

    def plus(self, batch: "Batch", appended: int, seconds: float) -> "Report":
        """The report with one more batch, of which `appended` events were new, after `seconds` in all."""
        return replace(
            self,
            read=self.read + len(batch.events) + len(batch.rejects),
            appended=self.appended + appended,
            already_there=self.already_there + len(batch.events) - appended,
            rejected=dict(Counter(self.rejected) + Counter(reject.reason for reject in batch.rejects)),
            seconds=seconds,
        )

    def sentence(self) -> str:
        """The report in one line."""
        counts = f"{self.appended:,} appended, {self.already_there:,} there already"
        if not self.rejected:
            return f"{self.source}: {self.read:,} rows read in {self.seconds:.1f} s: {counts}, none rejected."
        reasons = "; ".join(f"{count:,} × {reason}" for reason, count in self.rejected.items())
        rejected = f"{sum(self.rejected.values()):,} rejected ({reasons}), see {self.reject_file}"
        return f"{self.source}: {self.read:,} rows read in {self.seconds:.1f} s: {counts}, {rejected}."


class History(BaseModel):
    """How much of a world's past is wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    days: float | None = Field(None, gt=0)  # None: as many as the system's label delay asks for
    rows: int = Field(1_000_000, gt=0)


@flow(name="ingest")
def ingest(
    system: str, file: str | None = None, mapping: str | None = None, world: dict[str, Any] | None = None
) -> Report:
    """Bring in a world's history, or a user's file by its mapping, or else what the log has gained."""
    settings, logger = Settings.load(), get_run_logger()
    report = run(settings, systems.load(system), source(file, mapping, world), logger.info)
    logger.info(report.sentence())
    if file:  # somebody waits for it; of the scheduled runs nobody would ever read or remove it
        settings.path("run", f"ingest-{flow_run.id}.json").write_text(json.dumps(asdict(report)))
    return report


@dataclass(frozen=True)
class UserFile:
    """A user's file and the mapping for it."""

    path: Path
    mapping: Path


def source(file: str | None, mapping: str | None, world: dict[str, Any] | None) -> UserFile | History | None:
    """What is to be taken in, None being the log; InvalidInput when the parameters contradict each other."""
    if world is not None and (file or mapping):
        raise InvalidInput("Ingest takes a file or a world's history in one run, not both.")
    if bool(file) != bool(mapping):
        raise InvalidInput("A file is ingested with a mapping, and a mapping with a file: give both.")
    if file and mapping:
        return UserFile(Path(file), Path(mapping))
    try:
        return None if world is None else History.model_validate(world)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"world.{first['loc'][0]} cannot be used: {first['msg']}.") from error


def run(settings: Settings, system: System, wanted: UserFile | History | None, say: Say) -> Report:
    """Ingest as the flow does, with stores as the settings say."""
    events, now = wiring.events(settings), wiring.clock(settings).now()
    if isinstance(wanted, History):
        report = from_world(system, wanted, events, now, say)
        end = events.watermark(system, report.source) or now
        catalogue.from_world(system, wanted.seed, wiring.archive(settings), end, say)
        return report
    if wanted is None:
        return from_log(system, wiring.archive(settings), events, now, say)
    mapping = mappings.load(wanted.mapping)
    mappings.check(mapping, system)
    opened = open_event_file(wanted.path, mapping)
    return from_file(system, opened, events, settings.path("rejects", system.name), now, say)


def from_file(system: System, file: EventFile, events: Events, rejects: Path, now: datetime, say: Say) -> Report:
    """A user's file, in chunks; what is refused goes to a file in the folder `rejects`."""
    validator = Validator(system, file.mapping, file.digest[:16], now)
    batches = (Batch(*validator.events(chunk)) for chunk in file.chunks())
    reject_file = RejectFile(rejects / f"{file.path.name}-{file.digest[:8]}.csv")
    report = _take_in(system, file.path.name, batches, events, reject_file, say)
    if report.read == 0:
        raise InvalidInput(f"The file {str(file.path)!r} has a header and no rows.")
    return report


def from_world(system: System, history: History, events: Events, now: datetime, say: Say) -> Report:
    """The history of a world that ends now; asked for again, it is the same history with the same end."""
    span = timedelta(days=history.days) if history.days else system.requirements.history
    name = f"world of seed {history.seed}, {span / timedelta(days=1):g} days, {history.rows} rows"
    end = events.watermark(system, name) or now
    events.set_watermark(system, name, end)  # before the first row, or a second run would bring another history
    frames = system.world(history.seed).history(end - span, end, history.rows)
    return _take_in(system, name, map(Batch, frames), events, None, say)


def from_log(system: System, archive: Archive, events: Events, now: datetime, say: Say) -> Report:
    """Served rows whose label is final become events; the watermark moves only when they are on the disk."""
    until = now - system.requirements.label_delay
    last = events.watermark(system, LOG)
    since = datetime.fromtimestamp(0, UTC) if last is None else last - OVERLAP
    rows = archive.labelled(system, since, until, now)
    made = logged_events(system, rows)
    frames = (made.iloc[start : start + FRAME_ROWS] for start in range(0, len(made), FRAME_ROWS))
    report = _take_in(system, LOG, map(Batch, frames), events, None, say)
    events.set_watermark(system, LOG, max(until, last or until))
    return report


@dataclass(frozen=True)
class Batch:
    """Some rows of a source: the good ones, and the refused."""

    events: pd.DataFrame
    rejects: list[Reject] = field(default_factory=list)


def _take_in(
    system: System, name: str, batches: Iterable[Batch], events: Events, reject_file: RejectFile | None, say: Say
) -> Report:
    """The one path of all sources: set aside what was refused, append the rest, count both."""
    report, started = Report(system.name, name), time.monotonic()
    with reject_file or nullcontext():
        for batch in batches:
            if reject_file and batch.rejects:
                reject_file.add(batch.rejects)
                report = replace(report, reject_file=str(reject_file.path))
            appended = events.append(system, batch.events)
            report = report.plus(batch, appended, time.monotonic() - started)
            say(f"{report.read:,} rows read, {report.appended:,} appended, {report.rate:,.0f} rows a second")
    return report
