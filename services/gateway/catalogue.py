"""The systems that this gateway answers for, and those it would answer for once their folder is mended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

import systems
from contracts.errors import BrokenSystem, UnknownSystem
from contracts.system import Requirements, System


class SystemSummary(BaseModel):
    """A system and whether it can be asked."""

    name: str
    status: Literal["ready", "broken"]
    goal: str | None = Field(None, description="what the business asks of it")
    message: str | None = Field(None, description="what to mend, where it is broken")


class SystemList(BaseModel):
    """All systems, by name."""

    systems: list[SystemSummary]


class SystemDescription(BaseModel):
    """What a client needs to know of a system. Durations are written as ISO 8601 has them: PT0.25S is 250 ms."""

    name: str
    requirements: Requirements
    target: str = Field(description="what a label of 1 means")
    item: str | None = Field(description="what the item_id of an outcome names; null where outcomes have none")
    features: list[str] = Field(description="the columns of the model's input, in order")
    quality_margin: float = Field(description="log loss a row above the hold-out's at which monitoring sees harm")
    example: dict[str, Any] = Field(description="a request that is answered")
    request_schema: dict[str, Any] = Field(description="JSON Schema of the body of a prediction")
    response_schema: dict[str, Any] = Field(description="JSON Schema of the result in its answer")


@dataclass(frozen=True)
class Catalogue:
    """Systems by name; of the broken ones, the message that says what to mend."""

    ready: Mapping[str, System]
    broken: Mapping[str, str]

    @classmethod
    def load(cls) -> "Catalogue":
        """All folders of systems/; one that is broken takes no other down."""
        ready, broken = {}, {}
        for name in systems.names():
            try:
                ready[name] = systems.load(name)
            except BrokenSystem as error:
                broken[name] = str(error)
        return cls(ready, broken)

    @property
    def names(self) -> list[str]:
        return sorted({*self.ready, *self.broken})

    def find(self, name: str) -> System:
        """The system; UnknownSystem when there is none, BrokenSystem when it could not be loaded."""
        if system := self.ready.get(name):
            return system
        if message := self.broken.get(name):
            raise BrokenSystem(message)
        raise UnknownSystem(f"No system named {name[:100]!r}. Known: {', '.join(self.names) or 'none yet'}.")

    def summary(self) -> SystemList:
        return SystemList(systems=[self._summary(name) for name in self.names])

    def _summary(self, name: str) -> SystemSummary:
        if message := self.broken.get(name):
            return SystemSummary(name=name, status="broken", message=message)
        return SystemSummary(name=name, status="ready", goal=self.ready[name].requirements.goal)


def describe(system: System) -> SystemDescription:
    """What `GET /v1/systems/{system}` answers."""
    return SystemDescription(
        name=system.name,
        requirements=system.requirements,
        target=system.task.target,
        item=system.task.item,
        features=list(system.features.names),
        quality_margin=system.monitoring.quality_margin,
        example=dict(system.task.example),
        request_schema=system.task.request.model_json_schema(),
        response_schema=system.task.response.model_json_schema(mode="serialization"),
    )
