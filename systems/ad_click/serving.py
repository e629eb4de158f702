"""Step 6: candidates become rows; scores become ranked ads; and what is answered when no model is there.

Ads are ranked by expected value, probability × bid. The re-rank keeps a page from belonging to one advertiser. One ad
in a few pages is drawn at random, with its exact probability beside it: without exploration the log holds only what
the model already liked, and no other policy can ever be judged on it.
"""

from collections import Counter

import numpy as np

from contracts.system import Columns, Decision, Evidence, Floats, Serving
from systems.ad_click.features import PRIOR
from systems.ad_click.task import AdRequest, AdResponse, ShownAd

MOST_OF_ONE_ADVERTISER = 2
EXPLORATION = 0.05  # the share of pages whose last ad is drawn at random

# The fallback's click rates are declared, as somebody wrote them down before there was a model.
PLACEMENT_RATES = {"top": 0.13, "feed": 0.11, "sidebar": 0.08, "bottom": 0.07}


def rows(request: AdRequest) -> Columns:
    """One row a candidate ad, in the order of the request."""
    count = len(request.ads)
    strings = {
        "user_id": [request.user_id] * count,
        "device": [request.device] * count,
        "placement": [request.placement] * count,
        "ad_id": [ad.ad_id for ad in request.ads],
        "campaign_id": [ad.campaign_id for ad in request.ads],
        "advertiser_id": [ad.advertiser_id for ad in request.ads],
        "category": [ad.category for ad in request.ads],
    }
    columns = {name: np.array(values, dtype=object) for name, values in strings.items()}
    return columns | {"bid": np.array([ad.bid for ad in request.ads], dtype=np.float64)}


def respond(request: AdRequest, evidence: Evidence, random: np.random.Generator) -> Decision:
    """The best ads by expected value, the last of which is now and then drawn from all that could stand there."""
    rows, scores = evidence.rows, evidence.scores
    values = scores * rows["bid"]
    order = np.argsort(-values, kind="stable")
    shown, eligible = _best(order, rows["advertiser_id"], request.slots)
    propensity = np.ones(len(shown))
    shown[-1], propensity[-1] = _explored(shown[-1], eligible, random)
    return Decision(
        result=AdResponse(ads=[_shown(request, row, place, scores, values) for place, row in enumerate(shown)]),
        shown=np.array(shown, dtype=np.int64),
        propensity=propensity,
    )


def fallback(request: AdRequest, rows: Columns, features: Columns) -> Floats:
    """The declared click rate of the placement for every ad: the bids then make the order."""
    return np.full(len(rows["ad_id"]), PLACEMENT_RATES.get(request.placement, PRIOR))


def _best(order: np.ndarray, advertisers: np.ndarray, slots: int) -> tuple[list[int], list[int]]:
    """The ads to show without exploration, and all (the last of them included) that could stand in the last place."""
    taken: Counter[str] = Counter()
    shown: list[int] = []
    eligible: list[int] = []
    for row in order.tolist():
        if taken[advertisers[row]] >= MOST_OF_ONE_ADVERTISER:
            continue
        if len(shown) < slots - 1:
            shown.append(row)
            taken[advertisers[row]] += 1
        else:
            eligible.append(row)
    if eligible:
        return [*shown, eligible[0]], eligible
    return shown, shown[-1:]


def _explored(best: int, eligible: list[int], random: np.random.Generator) -> tuple[int, float]:
    """The ad for the last place, and the probability with which it came to stand there."""
    drawn = eligible[int(random.integers(len(eligible)))] if random.random() < EXPLORATION else best
    by_chance = EXPLORATION / len(eligible)
    return drawn, by_chance + (1 - EXPLORATION if drawn == best else 0.0)


def _shown(request: AdRequest, row: int, place: int, scores: Floats, values: Floats) -> ShownAd:
    ad = request.ads[row]
    return ShownAd(
        ad_id=ad.ad_id,
        campaign_id=ad.campaign_id,
        advertiser_id=ad.advertiser_id,
        place=place,
        probability=float(scores[row]),
        expected_value=float(values[row]),
    )


SERVING = Serving(rows=rows, respond=respond, fallback=fallback)
