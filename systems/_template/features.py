"""Step 3: the events' columns, the windowed aggregates over them, and what the request itself says."""

from datetime import timedelta

import numpy as np

from contracts.system import AT, Columns, Feature, Features, FeatureView, Source
from systems._template.requirements import REQUIREMENTS

ENTITY, TARGET = "visitor_id", "bought"  # whose past is looked at, and the label: 1.0 or 0.0
CHOICES = {"device": ("phone", "laptop", "tablet"), "source": ("search", "mail", "advert", "direct")}
NUMBERS = ("pages",)
PRIOR = 0.2  # the rate that is assumed of whom nothing is known

HOUR, WEEK = timedelta(hours=1), timedelta(days=7)
RATE = Feature("rate_7d", "mean", WEEK, PRIOR, column=TARGET, after=REQUIREMENTS.label_delay, prior=PRIOR, strength=10)
VIEW = FeatureView("entity", (ENTITY,), (Feature("events_7d", "count", WEEK, 0.0), RATE), every=HOUR, ttl=WEEK + HOUR)


def on_request(rows: Columns) -> Columns:
    """The hour as a point on a circle, a column of zeros and ones for each choice, the numbers' logarithms."""
    angle = np.asarray(rows[AT], dtype=np.float64) % 86_400 * (2 * np.pi / 86_400)
    chosen = {f"{name}_{one}": (rows[name] == one) * 1.0 for name, known in CHOICES.items() for one in known}
    logs = {f"{name}_log": np.log1p(np.maximum(rows[name].astype(np.float64), 0.0)) for name in NUMBERS}
    return {"hour_sin": np.sin(angle), "hour_cos": np.cos(angle), **chosen, **logs}


SOURCE = Source(
    name="visits",
    id="event_id",
    columns={
        ENTITY: "string",
        **dict.fromkeys(CHOICES, "string"),
        **dict.fromkeys(NUMBERS, "float"),
        TARGET: "float",
    },
)
REQUEST_FEATURES = (
    *("hour_sin", "hour_cos"),
    *(f"{name}_{one}" for name, known in CHOICES.items() for one in known),
    *(f"{name}_log" for name in NUMBERS),
)
FEATURES = Features(source=SOURCE, views=(VIEW,), request_features=REQUEST_FEATURES, on_request=on_request)
