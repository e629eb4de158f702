"""Step 2: a request with candidate ads goes in, ranked ads with their click probabilities come out."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.system import Task
from systems.ad_click.requirements import REQUIREMENTS

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Device = Literal["mobile", "desktop", "tablet"]


class Ad(BaseModel):
    """A candidate that the targeting filter let through."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    ad_id: Name
    campaign_id: Name
    advertiser_id: Name
    category: Name
    bid: float = Field(gt=0, le=10_000, description="what the advertiser pays for a click, in units of currency")


class AdRequest(BaseModel):
    """Who looks at what, and the ads that could be shown there."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    user_id: Name
    device: Device
    placement: Name = Field(description="where on the page: top, feed, sidebar, bottom; an unknown one is served too")
    slots: int = Field(4, ge=1, le=10, description="how many ads there is room for")
    ads: list[Ad] = Field(min_length=1, max_length=REQUIREMENTS.max_candidates)

    @model_validator(mode="after")
    def _each_ad_once(self) -> Self:
        """Outcomes name an ad by its id, so that a request may not hold the same one twice."""
        seen: set[str] = set()
        for ad in self.ads:
            if ad.ad_id in seen:
                raise ValueError(f"ads holds ad_id {ad.ad_id!r} twice; each candidate may be there once")
            seen.add(ad.ad_id)
        return self


class ShownAd(BaseModel):
    """One ad of the answer."""

    ad_id: str
    campaign_id: str
    advertiser_id: str
    place: int = Field(description="0 is the first")
    probability: float = Field(description="that it is clicked within the attribution window")
    expected_value: float = Field(description="probability × bid, in units of currency")


class AdResponse(BaseModel):
    """The ads to show, best first."""

    ads: list[ShownAd]


TASK = Task(
    kind="binary_classification",
    request=AdRequest,
    response=AdResponse,
    target="clicked",
    item="ad_id",
    example={
        "user_id": "u00042",
        "device": "mobile",
        "placement": "feed",
        "slots": 2,
        "ads": [
            {"ad_id": "a0007", "campaign_id": "c007", "advertiser_id": "v007", "category": "travel", "bid": 0.8},
            {"ad_id": "a0019", "campaign_id": "c019", "advertiser_id": "v019", "category": "games", "bid": 0.45},
            {"ad_id": "a0311", "campaign_id": "c311", "advertiser_id": "v111", "category": "books", "bid": 1.2},
        ],
    },
)
