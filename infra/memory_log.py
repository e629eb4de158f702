"""The log in memory: the twin of the Redis log and its consumer, for tests that need no server."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count

from contracts.errors import InvalidInput
from contracts.records import ItemRecord, KeptAnswer, LogEntry, OutcomeRecord, PredictionRecord, ReviewCase
from infra.log import ITEMS_KEPT
from infra.log_codec import decode, encode
from infra.review_cases import MOST_CASES, case_of

Fields = Mapping[str, bytes]


class MemoryLog:
    """Holds entries as the stream does, encoded, so that a record comes out as it would out of Redis."""

    def __init__(self) -> None:
        self.entries: dict[str, Fields] = {}
        self.dead: list[tuple[Fields, str]] = []
        self.items: dict[tuple[str, str], ItemRecord] = {}  # by system and item, each as it was last
        self._answers: dict[tuple[str, str], KeptAnswer] = {}
        self._cases: dict[tuple[str, str], ReviewCase] = {}  # by system and prediction
        self._ids = count(1)

    async def recall(self, system: str, key: str) -> KeptAnswer | None:
        return self._answers.get((system, key))

    async def append(self, record: PredictionRecord, keep: KeptAnswer | None = None) -> KeptAnswer | None:
        fields = encode(record)
        if keep is not None and (kept := self._answers.setdefault((record.system, keep.key), keep)) is not keep:
            return kept
        self.add(fields)
        if record.review:
            self._cases[record.system, record.prediction_id] = case_of(record)
        return keep

    async def append_outcome(self, outcome: OutcomeRecord) -> None:
        self.add(encode(outcome))
        if outcome.source == "review":
            self._cases.pop((outcome.system, outcome.prediction_id), None)

    async def reviews(self, system: str, most: int) -> Sequence[ReviewCase]:
        own = [case for (name, _), case in self._cases.items() if name == system]
        newest = sorted(own, key=lambda case: (case.at, case.prediction_id), reverse=True)
        return newest[: min(most, MOST_CASES)]

    async def append_item(self, item: ItemRecord) -> None:
        self.add(encode(item))
        known = self.items.get((item.system, item.item))
        if known is None or known.received_at <= item.received_at:
            self.items[item.system, item.item] = item
        oldest = item.received_at - ITEMS_KEPT
        old = [key for key, each in self.items.items() if key[0] == item.system and each.received_at < oldest]
        for key in old:
            del self.items[key]

    def add(self, fields: Fields) -> None:
        """Add an entry as it stands, whether it is a record or not."""
        self.entries[f"{next(self._ids)}-0"] = fields


class MemoryCatalogue:
    """The items that a log in memory was given of late."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def since(self, system: str, moment: datetime) -> Sequence[ItemRecord]:
        found = [each for each in self._log.items.values() if each.system == system and each.received_at >= moment]
        return sorted(found, key=lambda item: (item.received_at, item.item))


class MemoryLogConsumer:
    """Reads whatever is unacknowledged, oldest first."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._taken: set[str] = set()

    def read(self, most: int, wait_seconds: float) -> Sequence[LogEntry]:
        waiting = [i for i in self._log.entries if i in self._taken] or list(self._log.entries)
        self._taken.update(waiting[:most])
        return [_entry(entry_id, self._log.entries[entry_id]) for entry_id in waiting[:most]]

    def acknowledge(self, entry_ids: Sequence[str]) -> None:
        for entry_id in entry_ids:
            self._log.entries.pop(entry_id, None)

    def reject(self, entry: LogEntry, reason: str) -> None:
        self._log.dead.append((self._log.entries.pop(entry.entry_id, {}), reason))

    def lag(self) -> int:
        return len(self._log.entries)

    def dead_letters(self) -> int:
        return len(self._log.dead)


def _entry(entry_id: str, fields: Fields) -> LogEntry:
    try:
        return LogEntry(entry_id, decode({name.encode(): value for name, value in fields.items()}))
    except InvalidInput as error:
        return LogEntry(entry_id, None, str(error))
