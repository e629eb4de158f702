"""What became of a prediction, as a client reports it: checked, stamped with the platform's time, and logged."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from contracts.errors import InvalidInput
from contracts.records import OutcomeRecord
from contracts.system import System
from services.gateway.stages import Deadline, Platform

SKEW = timedelta(minutes=1)  # how far a client's clock may run ahead of the platform's
EPOCH = datetime.fromtimestamp(0, UTC)
PATIENCE = 2.0  # seconds for the log to take it: nobody waits for a page, and a pause of the log's disk passes


class Outcome(BaseModel):
    """What became of one item of a prediction, or of the prediction itself where its system has no items."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    prediction_id: str = Field(pattern="^[0-9a-f]{32}$", description="from the answer to the prediction")
    item_id: str | None = Field(None, min_length=1, max_length=256, description="the item of the answer that is meant")
    label: float = Field(ge=0, le=1, description="1 if what was predicted happened, else 0")
    occurred_at: AwareDatetime = Field(description="when, with its offset from UTC")
    source: Literal["client", "review"] = Field(
        "client", description="review: a person judged it, which holds at once and against what a client says"
    )


async def accept(platform: Platform, system: System, outcome: Outcome) -> None:
    """Append the outcome to the log. Whether there is such a prediction is for the join to say: it may come later."""
    now = platform.clock.now()
    _check_item(system, outcome)
    _check_time(outcome.occurred_at, now)
    record = OutcomeRecord(
        prediction_id=outcome.prediction_id,
        system=system.name,
        item=outcome.item_id,
        label=outcome.label,
        occurred_at=outcome.occurred_at.astimezone(UTC),
        received_at=now,
        source=outcome.source,
    )
    await platform.logging.call(lambda: platform.log.append_outcome(record), system, Deadline.after(PATIENCE))
    platform.metrics.outcomes.labels(system.name).inc()


def _check_item(system: System, outcome: Outcome) -> None:
    if system.task.item and outcome.item_id is None:
        raise InvalidInput(f"item_id is missing; {system.name} needs the {system.task.item} that is meant.", "item_id")
    if not system.task.item and outcome.item_id is not None:
        raise InvalidInput(
            f"item_id cannot be {outcome.item_id!r}: a prediction of {system.name} has one outcome; leave it out.",
            "item_id",
        )


def _check_time(occurred_at: datetime, now: datetime) -> None:
    if occurred_at > now + SKEW:
        raise InvalidInput(
            f"occurred_at cannot be {occurred_at.isoformat()}: that is after now, {now.isoformat()}.", "occurred_at"
        )
    if occurred_at < EPOCH:
        raise InvalidInput(f"occurred_at cannot be {occurred_at.isoformat()}: that is before 1970.", "occurred_at")
