"""Log → archive: takes batches from the log, writes them, and only then acknowledges them.

Killed at any moment it loses nothing (unacknowledged entries come again) and doubles nothing (the archive reads a
record once, however often it was written).
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from contracts.errors import FlywheelError, InvalidInput
from contracts.ports import Archive, LogConsumer
from contracts.records import ItemRecord, LogEntry, OutcomeRecord, PredictionRecord
from infra.breather import Breather
from infra.stop_signal import StopSignal
from services.recorder.health import Health
from services.recorder.metrics import Metrics

LOGGER = logging.getLogger("flywheel.recorder")
MOST_RECORDS = 2000  # of a batch
FLUSH_SECONDS = 1.0  # between two batches, unless the first was full: a file a second, not one a record
RESTS = 0.8  # of that time, at most, within a turn; none while more waits than a batch takes
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds after a failure, doubled each time
KINDS = {PredictionRecord: "prediction", OutcomeRecord: "outcome", ItemRecord: "item"}  # as the metrics name them
LAST_TURNS_SECONDS = 5.0  # for what is still in the log when it is told to stop


@dataclass
class Recorder:
    """One recorder. `run` is its loop; the health and the metrics may be read from other threads."""

    consumer: LogConsumer
    archive: Archive
    metrics: Metrics
    health: Health
    breather: Breather = field(default_factory=Breather)
    most: int = MOST_RECORDS
    flush_seconds: float = FLUSH_SECONDS

    def run(self, stop: StopSignal) -> None:
        """Record until told to stop, then empty the log as far as that takes few seconds."""
        pause = FIRST_PAUSE
        taken: int | None = 0
        while not stop.is_set():
            started = monotonic()
            self.breather.allow(RESTS * self.flush_seconds if (taken or 0) < self.most else 0.0)
            taken = self.turn(self.flush_seconds)
            if taken is None:
                stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            if 0 < taken < self.most:
                stop.wait(max(0.0, self.flush_seconds - (monotonic() - started)))
        self.breather.allow(0.0)
        deadline = monotonic() + LAST_TURNS_SECONDS
        while self.turn(0.0) and monotonic() < deadline:
            pass

    def turn(self, wait_seconds: float) -> int | None:
        """One batch: how many entries it had; None when it failed, and then nothing of it is lost."""
        part = "log"
        try:
            entries = self.consumer.read(self.most, wait_seconds)
            part = "archive"
            refused = self._write([entry for entry in entries if entry.record is not None])
            part = "log"
            self._settle(entries, refused)
        except Exception as error:  # whatever it is, the loop goes on, and the failure is counted and seen
            self._failed(part, error)
            return None
        self.health.turned()
        return len(entries)

    def _write(self, entries: Sequence[LogEntry]) -> dict[str, str]:
        """Write all that can be written; the ids of those that the archive cannot hold, each with the reason."""
        if not entries:
            return {}
        try:
            self.archive.append(_records(entries))
            refused = {}
        except InvalidInput:
            refused = self._write_singly(entries)
        self.metrics.wrote()
        return refused

    def _write_singly(self, entries: Sequence[LogEntry]) -> dict[str, str]:
        refused = {}
        for entry in entries:
            try:
                self.archive.append(_records([entry]))
            except InvalidInput as error:
                refused[entry.entry_id] = str(error)
        return refused

    def _settle(self, entries: Sequence[LogEntry], refused: dict[str, str]) -> None:
        """What is written leaves the log first: where Redis is full that makes room for the copies of the poison."""
        written = [entry for entry in entries if entry.record is not None and entry.entry_id not in refused]
        self.consumer.acknowledge([entry.entry_id for entry in written])
        for (system, kind), count in Counter((r.system, KINDS[type(r)]) for r in _records(written)).items():
            self.metrics.records.labels(system, kind).inc(count)
        for entry in entries:
            if entry.record is None or entry.entry_id in refused:
                self._reject(entry, refused.get(entry.entry_id) or entry.fault or "The entry is not a record.")
        self.metrics.lag.set(self.consumer.lag())
        self.metrics.dead_letters.set(self.consumer.dead_letters())

    def _reject(self, entry: LogEntry, reason: str) -> None:
        self.consumer.reject(entry, reason)
        self.metrics.rejected.inc()
        LOGGER.warning("entry %s went to the dead letters: %s", entry.entry_id, reason)

    def _failed(self, part: str, error: Exception) -> None:
        known = isinstance(error, FlywheelError)
        problem = str(error) if known else f"The recorder failed at the {part}: {type(error).__name__}: {error}."
        if self.health.problem() != problem:
            LOGGER.error("%s", problem, exc_info=None if known else error)
        self.metrics.failures.labels(part).inc()
        self.health.turned(problem)


def _records(entries: Sequence[LogEntry]) -> list[PredictionRecord | OutcomeRecord | ItemRecord]:
    return [entry.record for entry in entries if entry.record is not None]
