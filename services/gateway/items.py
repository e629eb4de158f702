"""An item of a system's catalogue, as it is published: checked against `Retrieval.items`, stamped and logged.

Its place in the loop: serving tells the stage one that answers of it within seconds, and the next training learns of it
from the archive.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, create_model

from contracts.errors import BrokenSystem, InvalidInput, NotFound
from contracts.records import ItemRecord
from contracts.system import Source, System
from services.gateway.stages import Deadline, Platform

PUBLISHED_AT = "published_at"
LONGEST_ID, LONGEST = 256, 4096  # characters
SKEW = timedelta(minutes=1)  # how far a client's clock may run ahead of the platform's
EPOCH = datetime.fromtimestamp(0, UTC)
KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "string": (str, {"max_length": LONGEST}),
    "float": (float, {}),
    "integer": (int, {}),  # at most 64 bits, as everywhere in a body
}
STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def model_of(system: System) -> type[BaseModel]:
    """What the body of a published item must be; `NotFound` where the system has no catalogue."""
    source = _source(system)
    if PUBLISHED_AT in (source.id, *source.columns):
        raise BrokenSystem(f"{system.name} has an item column named {PUBLISHED_AT!r}, which says when; rename it.")
    fields: dict[str, Any] = {
        "item": (str, Field(alias=source.id, min_length=1, max_length=LONGEST_ID)),
        PUBLISHED_AT: (AwareDatetime, Field(description="when it came out, with its offset from UTC")),
    }
    for number, (name, kind) in enumerate(source.columns.items()):  # under aliases: any name may be a column's
        annotation, bounds = KINDS[kind]
        default = source.optional.get(name, ...)
        fields[f"column_{number}"] = (annotation, Field(default, alias=name, **bounds))
    return create_model("Item", __config__=STRICT, __doc__=f"One of the {source.name} of {system.name}.", **fields)


async def publish(platform: Platform, system: System, item: BaseModel) -> str:
    """Append the item to the log and make it known to the catalogue: its id. The same id again replaces the item."""
    columns, now = item.model_dump(by_alias=True), platform.clock.now()
    name, published_at = columns.pop(_source(system).id), columns.pop(PUBLISHED_AT)
    _check_time(published_at, now)
    record = ItemRecord(name, system.name, published_at.astimezone(UTC), columns, now)
    await platform.logging.call(lambda: platform.log.append_item(record), system, Deadline.of(system))
    return str(name)


def _source(system: System) -> Source:
    if (retrieval := system.model.retrieval) is None:
        raise NotFound(f"{system.name} has no catalogue of items to publish to, for its model has no stage one.")
    return retrieval.items


def _check_time(published_at: datetime, now: datetime) -> None:
    if published_at > now + SKEW:
        raise InvalidInput(
            f"{PUBLISHED_AT} cannot be {published_at.isoformat()}: that is after now, {now.isoformat()}.", PUBLISHED_AT
        )
    if published_at < EPOCH:
        raise InvalidInput(f"{PUBLISHED_AT} cannot be {published_at.isoformat()}: that is before 1970.", PUBLISHED_AT)
