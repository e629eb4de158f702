"""ad_click's simulated clients, with the true probability of every click: what the demo and the tests measure against.

The history is the log of an older policy that ranked by bid and a poor guess of the click probability: what a model
will serve is selected by expected value, too, and rows chosen otherwise would have another base rate.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contracts.errors import InvalidInput
from contracts.system import AT
from contracts.world import Drift, SimulatedOutcome
from systems.ad_click import population, traffic
from systems.ad_click.features import DEVICES, PLACEMENTS
from systems.ad_click.population import CATEGORIES, Cast, Doubles, Ints, Seen, index
from systems.ad_click.requirements import ATTRIBUTION_WINDOW
from systems.ad_click.traffic import Pages

DEVICE_NAMES = np.array(DEVICES, dtype=object)
PLACEMENT_NAMES = np.array(PLACEMENTS, dtype=object)
CATEGORY_NAMES = np.array(CATEGORIES, dtype=object)
DEVICE_INDEX, PLACEMENT_INDEX, CATEGORY_INDEX = index(DEVICES), index(PLACEMENTS), index(CATEGORIES)
AD_FIELDS = ("ad_id", "campaign_id", "advertiser_id", "category", "bid")

CALM = Drift()
CANDIDATES, SLOTS = 20, 8
FRAME = 100_000  # rows in a frame of history, at most
GUESS = 0.8  # standard deviation, in log-odds, of the older policy's error about an ad
MEDIAN_DELAY = timedelta(minutes=2)  # from impression to click
TOO_LATE = 0.02  # clicks that come after the attribution window, for each that comes within it
HIDES = 0.003  # the share of impressions that the user hides


class AdWorld:
    """Users, ads and clicks that repeat from their seed."""

    def __init__(self, seed: int, drift: Drift = CALM) -> None:
        if drift.kind != "none" and (drift.at is None or drift.at.tzinfo is None):
            raise InvalidInput(f"Drift of kind {drift.kind!r} has at={drift.at}; say from which UTC time on.", "at")
        if not 0 <= drift.strength <= 1:
            raise InvalidInput(f"Drift has strength {drift.strength}; it must lie between 0 and 1.", "strength")
        self.seed = seed
        self.drift = drift
        random = np.random.default_rng([seed, 0])
        self.who = population.cast(random)
        self._habits = population.habits(random)
        self._new_habits = population.moved_habits(random, self._habits)
        tastes = population.tastes(random, self.who)
        moved = population.moved_tastes(random, self.who, tastes)
        self._before, self._after = tastes.padded(), tastes.blend(moved, drift.strength).padded()
        self._concept_from = drift.at.timestamp() if drift.at and drift.kind in ("concept", "both") else np.inf
        self._data_from = drift.at.timestamp() if drift.at and drift.kind in ("data", "both") else np.inf

    def history(self, start: datetime, end: datetime, rows: int) -> Iterator[pd.DataFrame]:
        """Impressions in time order, SLOTS to a page; `clicked` is 1.0 where a click came within the window."""
        random = np.random.default_rng([self.seed, 1, int(start.timestamp()), int(end.timestamp()), rows])
        at = traffic.moments(random, start.timestamp(), end.timestamp(), -(-rows // SLOTS))
        for first in range(0, rows, FRAME):
            count = min(FRAME, rows - first)
            frame = self._impressions(random, at[first // SLOTS : -(-(first + count) // SLOTS)]).iloc[:count]
            frame.insert(0, "impression_id", [f"h{int(start.timestamp())}-{first + i}" for i in range(count)])
            yield frame

    def requests(self, count: int, at: datetime, stream: int) -> Sequence[dict[str, Any]]:
        """Bodies of requests, each with at most CANDIDATES different ads."""
        random = np.random.default_rng([self.seed, 2, stream, int(at.timestamp() * 1000)])
        pages = self._pages(random, np.full(count, at.timestamp()))
        return [self._request(pages, page) for page in range(count)]

    def outcomes(
        self, request: Mapping[str, Any], result: Mapping[str, Any], at: datetime, stream: int
    ) -> Sequence[SimulatedOutcome]:
        """Clicks on the ads shown, a few of them too late to count, and a few ads hidden (label 0.0)."""
        items = [str(ad["ad_id"]) for ad in result["ads"]]
        random = np.random.default_rng(_digest(self.seed, stream, at.isoformat(), request["user_id"], items))
        probability = self.truth(_shown_rows(request, items, at))
        found = zip(items, probability, random.random((len(items), 3)), strict=True)
        outcomes = (_outcome(item, float(p), drawn, at) for item, p, drawn in found)
        return [outcome for outcome in outcomes if outcome]

    def truth(self, rows: Mapping[str, NDArray[Any]]) -> Doubles:
        """The true click probability of each row; whoever the world does not know is average."""
        seen = Seen(
            at=np.asarray(rows[AT], dtype=np.float64),
            user=self.who.user_index.get_indexer(pd.Index(rows["user_id"])),
            device=DEVICE_INDEX.get_indexer(pd.Index(rows["device"])),
            placement=PLACEMENT_INDEX.get_indexer(pd.Index(rows["placement"])),
            ad=self.who.ad_index.get_indexer(pd.Index(rows["ad_id"])),
            category=CATEGORY_INDEX.get_indexer(pd.Index(rows["category"])),
        )
        return 1 / (1 + np.exp(-self._log_odds(seen)))

    def _log_odds(self, seen: Seen) -> Doubles:
        drifted = np.asarray(seen.at >= self._concept_from)
        if not drifted.any():
            return self._before.log_odds(seen)
        if drifted.all():
            return self._after.log_odds(seen)
        return np.where(drifted, self._after.log_odds(seen), self._before.log_odds(seen))

    def _pages(self, random: np.random.Generator, at: Doubles) -> Pages:
        before = traffic.pages(random, self.who, self._habits, at, CANDIDATES)
        if not (at >= self._data_from).any():
            return before
        after = traffic.pages(random, self.who, self._new_habits, at, CANDIDATES)
        return traffic.mixed(random, before, after, np.where(at >= self._data_from, self.drift.strength, 0.0))

    def _impressions(self, random: np.random.Generator, at: Doubles) -> pd.DataFrame:
        """What the older policy showed at these moments, and what was clicked."""
        pages = self._pages(random, at)
        odds = self._log_odds(_seen(pages, self.who))
        guess = odds + np.log(self.who.bids[pages.ads]) + random.normal(0, GUESS, odds.shape)
        guess[_repeated(pages.ads)] = -np.inf
        shown = np.argsort(-guess, axis=1)[:, :SLOTS]
        odds = np.take_along_axis(odds, shown, axis=1).ravel()
        clicked = random.random(len(odds)) < 1 / (1 + np.exp(-odds))
        ad = np.take_along_axis(pages.ads, shown, axis=1).ravel()
        page = np.repeat(np.arange(len(at)), SLOTS)
        return pd.DataFrame({AT: at[page], **self._columns(pages, page, ad), "clicked": clicked.astype(np.float64)})

    def _columns(self, pages: Pages, page: Ints, ad: Ints) -> dict[str, NDArray[Any]]:
        """The row columns of ads on pages."""
        who = self.who
        return {
            "user_id": who.users[pages.user[page]],
            "device": DEVICE_NAMES[pages.device[page]],
            "placement": PLACEMENT_NAMES[pages.placement[page]],
            "ad_id": who.ads[ad],
            "campaign_id": who.campaigns[ad],
            "advertiser_id": who.advertisers[ad],
            "category": CATEGORY_NAMES[who.category[ad]],
            "bid": who.bids[ad],
        }

    def _request(self, pages: Pages, page: int) -> dict[str, Any]:
        ads = np.unique(pages.ads[page])
        columns = self._columns(pages, np.full(len(ads), page), ads)
        candidates = zip(*(columns[name].tolist() for name in AD_FIELDS), strict=True)
        return {
            "user_id": str(columns["user_id"][0]),
            "device": str(columns["device"][0]),
            "placement": str(columns["placement"][0]),
            "slots": SLOTS,
            "ads": [dict(zip(AD_FIELDS, values, strict=True)) for values in candidates],
        }


def _seen(pages: Pages, who: Cast) -> Seen:
    """All candidates of all pages: pages × candidates."""
    one = np.newaxis
    return Seen(
        at=pages.at[:, one],
        user=pages.user[:, one],
        device=pages.device[:, one],
        placement=pages.placement[:, one],
        ad=pages.ads,
        category=who.category[pages.ads],
    )


def _repeated(ads: Ints) -> NDArray[np.bool_]:
    """Which candidates stand a second time on their page."""
    order = np.argsort(ads, axis=1, kind="stable")
    ranked = np.take_along_axis(ads, order, axis=1)
    again = np.zeros(ads.shape, dtype=np.bool_)
    again[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    repeated = np.empty_like(again)
    np.put_along_axis(repeated, order, again, axis=1)
    return repeated


def _shown_rows(request: Mapping[str, Any], items: Sequence[str], at: datetime) -> dict[str, NDArray[Any]]:
    categories = {str(ad["ad_id"]): ad["category"] for ad in request["ads"]}
    columns = {
        "user_id": [request["user_id"]] * len(items),
        "device": [request["device"]] * len(items),
        "placement": [request["placement"]] * len(items),
        "ad_id": list(items),
        "category": [categories[item] for item in items],
    }
    rows = {name: np.array(values, dtype=object) for name, values in columns.items()}
    return rows | {AT: np.full(len(items), at.timestamp())}


def _outcome(item: str, probability: float, drawn: Doubles, at: datetime) -> SimulatedOutcome | None:
    """What `drawn`, three numbers in [0, 1), makes of one ad shown: whether, what and when."""
    whether, when = float(drawn[0]), float(drawn[1])
    if whether < probability:
        return SimulatedOutcome(item, 1.0, at + _delay(when))
    if whether < probability * (1 + TOO_LATE):
        return SimulatedOutcome(item, 1.0, at + ATTRIBUTION_WINDOW * (1.001 + 2 * when))
    if float(drawn[2]) < HIDES:
        return SimulatedOutcome(item, 0.0, at + _delay(when))
    return None


def _delay(quantile: float) -> timedelta:
    """Exponential with MEDIAN_DELAY, cut off at the attribution window."""
    rate = np.log(2) / MEDIAN_DELAY.total_seconds()
    within = -np.expm1(-rate * ATTRIBUTION_WINDOW.total_seconds())
    return timedelta(seconds=float(-np.log1p(-quantile * within) / rate))


def _digest(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest())


WORLD = AdWorld
