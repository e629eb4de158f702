"""A world's catalogue on its way into the archive: what stage one is fitted on beside the events.

The items of a real catalogue come one by one, through the gateway and the log. A world's past, like its history, never
passed there: `flywheel ingest SYSTEM --world` brings in both.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from contracts.errors import BrokenSystem
from contracts.ports import Archive
from contracts.records import ItemRecord
from contracts.system import AT, Retrieval, System
from contracts.world import PublishingWorld

EPOCH = datetime.fromtimestamp(0, UTC)
BATCH = 50_000  # records that are held at once
PLAIN: dict[str, Callable[[Any], str | float | int]] = {"string": str, "float": float, "integer": int}

Say = Callable[[str], None]


def from_world(system: System, seed: int, archive: Archive, end: datetime, say: Say) -> int:
    """Bring in all that the world of a seed has published by `end`: how many items that is, 0 where there is no stage
    one. Again with the same end it changes nothing: items count as received then, unless something newer comes."""
    if (retrieval := system.model.retrieval) is None:
        return 0
    world = system.world(seed)
    if not isinstance(world, PublishingWorld):
        raise BrokenSystem(f"System {system.name!r} has a stage one; its world in world.py needs `items` to publish.")
    items = world.items(EPOCH, end)
    for start in range(0, len(items), BATCH):
        archive.append(list(_records(system, retrieval, items.iloc[start : start + BATCH], end)))
    say(f"the catalogue: {len(items):,} {retrieval.items.name} published by {end:%Y-%m-%d %H:%M}")
    return len(items)


def _records(system: System, retrieval: Retrieval, items: pd.DataFrame, end: datetime) -> Iterator[ItemRecord]:
    source = retrieval.items
    columns = {name: [PLAIN[kind](value) for value in items[name]] for name, kind in source.columns.items()}
    names, moments = items[source.id].astype(str).tolist(), items[AT].tolist()
    for place, (name, at) in enumerate(zip(names, moments, strict=True)):
        values = {column: held[place] for column, held in columns.items()}
        yield ItemRecord(name, system.name, datetime.fromtimestamp(at, UTC), values, end)
