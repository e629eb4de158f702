"""Step 2: a payment goes in; its score, the decision with its costs, and the reasons in words come out."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.system import Task

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Channel = Literal["in_store", "web", "app"]
Verdict = Literal["approve", "review", "decline"]


class Payment(BaseModel):
    """A payment that waits for its decision."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    card_id: Name
    device_id: Name = Field(description="what the payment is made on: a phone, a browser, a shop's terminal")
    merchant_id: Name
    category: Name = Field(description="what the merchant sells; an unknown category is served too")
    channel: Channel
    country: Name = Field(description="where the payment is made, as far as can be told")
    card_country: Name = Field(description="where the card was issued")
    amount: float = Field(gt=0, le=1_000_000, description="in units of currency")
    card_age_days: float = Field(ge=0, le=36_500, description="since the card was issued")
    device_known_days: float = Field(ge=0, le=36_500, description="since the device was first seen; 0 if it is new")


class Reason(BaseModel):
    """One of the things that weighed most."""

    feature: str = Field(description="a feature, a group of features that belong together, or a rule")
    contribution: float = Field(description="to the score, in log-odds; above 0 it speaks for fraud")
    words: str


class ExpectedCost(BaseModel):
    """What each decision is expected to cost, in units of currency."""

    approve: float
    review: float
    decline: float


class PaymentDecision(BaseModel):
    """What to do with the payment, and why."""

    score: float = Field(description="probability that the payment will be charged back as fraud")
    decision: Verdict
    explored: bool = Field(description="approved at random, so that the model can learn what became of such payments")
    in_review: bool = Field(description="a person is asked what it is")
    expected_cost: ExpectedCost
    reasons: list[Reason] = Field(max_length=3)


TASK = Task(
    kind="binary_classification",
    request=Payment,
    response=PaymentDecision,
    target="fraud",
    item=None,
    censored=True,
    example={
        "card_id": "c00042",
        "device_id": "d000042",
        "merchant_id": "m0007",
        "category": "electronics",
        "channel": "web",
        "country": "FR",
        "card_country": "DE",
        "amount": 249.9,
        "card_age_days": 410.0,
        "device_known_days": 0.0,
    },
)
