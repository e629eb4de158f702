"""Step 3: two views, of the user and of the item, together 24 features a row."""

from datetime import timedelta

from contracts.system import Feature, Features, FeatureView, Source

from .requirements import REQUIREMENTS

PRIOR, HOUR = 0.1, timedelta(hours=1)
WINDOWS = (1, 2, 4, 8, 24, 48, 96, 168)  # hours
TTL = HOUR * (WINDOWS[-1] + 1)


def _count(of: str, hours: int) -> Feature:
    return Feature(f"{of}_count_{hours}h", "count", hours * HOUR, 0.0)


def _rate(of: str, hours: int) -> Feature:
    return Feature(
        f"{of}_rate_{hours}h",
        "mean",
        hours * HOUR,
        PRIOR,
        column="clicked",
        after=REQUIREMENTS.label_delay,
        prior=PRIOR,
        strength=20,
    )


USER = FeatureView("user", ("user_id",), tuple(_count("user", hours) for hours in WINDOWS), every=HOUR, ttl=TTL)
ITEM = FeatureView(
    "item",
    ("item_id",),
    (*(_count("item", hours) for hours in WINDOWS), *(_rate("item", hours) for hours in WINDOWS)),
    every=HOUR,
    ttl=TTL,
)
SOURCE = Source(
    name="impressions",
    id="event_id",
    columns={"user_id": "string", "item_id": "string", "clicked": "float"},
)
FEATURES = Features(source=SOURCE, views=(USER, ITEM))
