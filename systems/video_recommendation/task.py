"""Step 2: a user, a device and what they watched last go in; ranked videos come out."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.system import Task
from systems.video_recommendation.requirements import HISTORY

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
VideoId = Annotated[str, Field(min_length=1, max_length=11, pattern=r"^[!-~]+$")]  # 20 of them fit into one column
Device = Literal["phone", "tablet", "desktop", "tv"]


class VideoRequest(BaseModel):
    """Who looks for something to watch. The player has the history, so that it is never older than the request."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    user_id: Name
    device: Device
    watched: list[VideoId] = Field(max_length=HISTORY, description="the videos last watched, the newest at the end")
    slots: int = Field(20, ge=1, le=50, description="how many videos there is room for")


class ShownVideo(BaseModel):
    """One video of the answer."""

    video_id: str
    category: str
    creator_id: str
    duration: float = Field(description="seconds")
    published_at: float = Field(description="seconds since the epoch, UTC")
    place: int = Field(description="0 is the first")
    probability: float = Field(description="that at least half of it is watched")
    watch_seconds: float = Field(description="for how long it is expected to be watched")


class VideoResponse(BaseModel):
    """The videos to show, best first."""

    videos: list[ShownVideo]


TASK = Task(
    kind="binary_classification",
    request=VideoRequest,
    response=VideoResponse,
    target="watched_half",
    item="video_id",
    example={
        "user_id": "u00042",
        "device": "phone",
        "watched": ["v6840017", "v6841203"],
        "slots": 20,
    },
)
