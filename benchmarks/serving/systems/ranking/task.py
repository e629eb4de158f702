"""Step 2: a user and candidates in, the best ten of them out."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from contracts.system import Task

from .requirements import REQUIREMENTS

Name = Annotated[str, Field(min_length=1, max_length=64)]


class Request(BaseModel):
    """Who asks, and what there is to choose from."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    user_id: Name
    item_ids: list[Name] = Field(min_length=1, max_length=REQUIREMENTS.max_candidates)


class Ranked(BaseModel):
    """The best candidates, best first, with their probabilities."""

    item_ids: list[str]
    scores: list[float]


TASK = Task(
    kind="binary_classification",
    request=Request,
    response=Ranked,
    target="clicked",
    item="item_id",
    example={"user_id": "u1", "item_ids": ["i1", "i2"]},
)
