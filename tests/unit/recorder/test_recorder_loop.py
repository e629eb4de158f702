"""The recorder's loop on the log and the archive in memory, with parts that fail."""

import asyncio
import math
import threading
from collections.abc import Sequence

from contracts.errors import InvalidInput, Unavailable
from contracts.records import LogEntry, OutcomeRecord, PredictionRecord
from infra.breather import Breather
from infra.memory_archive import MemoryArchive
from infra.memory_log import MemoryLog, MemoryLogConsumer
from infra.stop_signal import StopSignal
from services.recorder.health import Health
from services.recorder.metrics import Metrics
from services.recorder.recorder import RESTS, Recorder
from tests.conftest import poll
from tests.stores.log_records import outcome, prediction


class FailingArchive(MemoryArchive):
    """Fails as its disk does, or refuses one record."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.refused = ""

    def append(self, records: Sequence[PredictionRecord | OutcomeRecord]) -> None:
        if self.full:
            raise Unavailable("The archive in log cannot be written: No space left on device.")
        if any(record.prediction_id == self.refused for record in records):
            raise InvalidInput(f"The archive cannot hold {self.refused}.")
        super().append(records)


class FailingConsumer(MemoryLogConsumer):
    """Fails as Redis does, at its next call or at an acknowledgement."""

    failure: Exception | None = None
    at_acknowledge = False

    def read(self, most: int, wait_seconds: float) -> Sequence[LogEntry]:
        if self.failure and not self.at_acknowledge:
            raise self.failure
        return super().read(most, wait_seconds)

    def acknowledge(self, entry_ids: Sequence[str]) -> None:
        if self.failure:
            raise self.failure
        super().acknowledge(entry_ids)


class Stage:
    """A recorder and all it stands between."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.consumer = FailingConsumer(self.log)
        self.archive = FailingArchive()
        self.metrics = Metrics()
        self.health = Health()
        self.recorder = Recorder(self.consumer, self.archive, self.metrics, self.health, flush_seconds=0.01)

    def append(self, *records: PredictionRecord | OutcomeRecord) -> None:
        async def work() -> None:
            for record in records:
                is_outcome = isinstance(record, OutcomeRecord)
                await (self.log.append_outcome(record) if is_outcome else self.log.append(record))

        asyncio.run(work())

    def kept(self, *names: str) -> bool:
        return all(self.archive.prediction(name) is not None for name in names)

    def count(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(f"flywheel_recorder_{name}", labels)
        return math.nan if value is None else value


def test_a_batch_is_written_and_then_leaves_the_log() -> None:
    stage = Stage()
    stage.append(prediction("p1"), outcome("p1"), prediction("p2"))
    assert stage.health.problem() == "The recorder has not read from the log yet."
    assert math.isnan(stage.count("last_write_age_seconds"))
    assert stage.recorder.turn(0) == 3
    assert stage.kept("p1", "p2")
    assert stage.consumer.lag() == 0
    assert stage.health.problem() is None
    assert stage.count("records_total", system="shop", kind="prediction") == 2
    assert stage.count("records_total", system="shop", kind="outcome") == 1
    assert stage.count("batches_total") == 1
    assert stage.count("last_write_age_seconds") < 10
    assert stage.recorder.turn(0) == 0
    assert stage.count("batches_total") == 1


def test_poison_is_set_aside_and_the_stream_goes_on() -> None:
    stage = Stage()
    stage.append(prediction("p1"))
    stage.log.add({"meta": b"nonsense"})
    stage.append(prediction("p2"))
    assert stage.recorder.turn(0) == 3
    assert stage.kept("p1", "p2")
    assert stage.count("rejected_total") == stage.count("dead_letters") == 1
    ((fields, reason),) = stage.log.dead
    assert fields == {"meta": b"nonsense"}
    assert "format" in reason
    assert stage.health.problem() is None


def test_a_record_that_the_archive_cannot_hold_takes_no_other_with_it() -> None:
    stage = Stage()
    stage.archive.refused = "p2"
    stage.append(*(prediction(f"p{i}") for i in range(4)))
    assert stage.recorder.turn(0) == 4
    assert stage.kept("p0", "p1", "p3")
    assert [reason for _, reason in stage.log.dead] == ["The archive cannot hold p2."]
    assert stage.count("records_total", system="shop", kind="prediction") == 3


def test_while_the_disk_is_full_nothing_is_acknowledged_and_everyone_can_see_it() -> None:
    stage = Stage()
    stage.append(prediction("p1"))
    stage.log.add({"meta": b"nonsense"})
    stage.archive.full = True
    assert stage.recorder.turn(0) is None
    assert stage.recorder.turn(0) is None
    assert (stage.consumer.lag(), stage.consumer.dead_letters()) == (2, 0)
    assert stage.health.problem() == "The archive in log cannot be written: No space left on device."
    assert stage.count("failures_total", part="archive") == 2
    stage.archive.full = False
    assert stage.recorder.turn(0) == 2
    assert stage.kept("p1")
    assert (stage.consumer.lag(), stage.health.problem()) == (0, None)


def test_a_failure_that_nobody_foresaw_is_seen_and_tried_again() -> None:
    stage = Stage()
    stage.append(prediction("p1"))
    stage.consumer.failure = RuntimeError("a bug")
    assert stage.recorder.turn(0) is None
    assert stage.health.problem() == "The recorder failed at the log: RuntimeError: a bug."
    assert stage.count("failures_total", part="log") == 1
    stage.consumer.failure = None
    assert stage.recorder.turn(0) == 1


def test_what_was_written_and_not_acknowledged_is_written_again() -> None:
    stage = Stage()
    stage.append(prediction("p1"))
    stage.consumer.failure, stage.consumer.at_acknowledge = Unavailable("Redis is gone."), True
    assert stage.recorder.turn(0) is None
    assert stage.count("records_total", system="shop", kind="prediction") != 1
    stage.consumer.failure = None
    assert stage.recorder.turn(0) == 1
    assert stage.kept("p1")
    assert stage.count("records_total", system="shop", kind="prediction") == 1


def test_told_to_stop_it_empties_the_log_first() -> None:
    stage = Stage()
    stage.append(*(prediction(f"p{i}") for i in range(5)))
    stage.recorder.most = 2
    stop = StopSignal()
    stop.set()
    stage.recorder.run(stop)
    assert stage.consumer.lag() == 0


def test_the_loop_records_until_told_to_stop_and_recovers_by_itself() -> None:
    stage = Stage()
    stop = StopSignal()
    thread = threading.Thread(target=stage.recorder.run, args=(stop,))
    thread.start()
    try:
        stage.append(prediction("p1"))
        poll(lambda: stage.kept("p1"), what="the first record")
        stage.consumer.failure = Unavailable("Redis is gone.")
        poll(lambda: stage.health.problem() == "Redis is gone.", what="the failure in the health")
        stage.append(prediction("p2"))
        stage.consumer.failure = None
        poll(lambda: stage.kept("p2") and stage.health.problem() is None, what="the recovery")
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


class Allowances(Breather):
    """What was allowed, turn by turn; the last turn is that in which nothing was found."""

    def __init__(self, stop: StopSignal) -> None:
        super().__init__()
        self.stop, self.allowed = stop, list[float]()

    def allow(self, seconds: float) -> None:
        self.allowed.append(seconds)
        if len(self.allowed) == 4:
            self.stop.set()


def test_it_rests_in_between_unless_more_waits_than_a_batch_takes() -> None:
    stage, stop = Stage(), StopSignal()
    stage.recorder.most, stage.recorder.breather = 2, Allowances(stop)
    stage.append(*(prediction(f"p{number}") for number in range(5)))
    stage.recorder.run(stop)
    at_most = RESTS * stage.recorder.flush_seconds
    assert stage.recorder.breather.allowed == [at_most, 0.0, 0.0, at_most, 0.0]
    assert stage.kept("p0", "p4")
