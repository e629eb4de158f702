"""Step 2: what comes in (the source's columns without the label), what goes out, and what is predicted."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from contracts.system import Task
from systems._template.features import TARGET

Name = Annotated[str, Field(min_length=1, max_length=64)]


class Request(BaseModel):
    """A visit, as it stands when the question is asked."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    visitor_id: Name
    device: Name
    source: Name
    pages: float = Field(ge=0, description="pages seen so far")


class Answer(BaseModel):
    """The label's probability."""

    probability: float


TASK = Task(
    kind="binary_classification",
    request=Request,
    response=Answer,
    target=TARGET,
    item=None,
    example={"visitor_id": "v0042", "device": "phone", "source": "mail", "pages": 6.0},
)
