"""Who pays, where, how much and on what: honest payments drawn from the population, and the attacks among them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from systems.fraud_detection import attacks
from systems.fraud_detection.attacks import DAY, FARMED, SALE, SPREE, TAKEOVER, TESTING, Lane
from systems.fraud_detection.draws import Doubles, Ints, uniform, weighted
from systems.fraud_detection.population import (
    APP,
    COUNTRIES,
    GUEST_DEVICES,
    GUESTS,
    IN_STORE,
    OWN,
    POOL,
    TERMINALS,
    TURNS,
    WEB,
    Cast,
    Habits,
)

Mask = NDArray[np.bool_]

PEAK_HOUR = 18.0
WEEK = 7 * DAY
TERMINAL_DAYS = 20.0  # a shop's terminal has been known for 1 to 97 times as long
USUAL = np.log([28.0, 24.0, 45.0, 55.0, 120.0, 180.0, 7.0, 45.0, 90.0])  # by category
SPREAD = np.array([0.7, 0.6, 0.4, 0.6, 0.9, 0.8, 0.7, 0.5, 0.9])
TRIP, KIT, PLACE = 500, 600, 700  # salts


@dataclass(frozen=True)
class Payments:
    """Payments as numbers into the population, one element each. Whoever overlays them writes into the arrays."""

    at: Doubles
    card: Ints
    device: Ints
    merchant: Ints
    channel: Ints
    country: Ints
    amount: Doubles
    device_known_days: Doubles

    def put(self, mask: Mask, **columns: NDArray[np.float64] | Ints | float) -> None:
        """Write `columns`, which are as long as all payments, where the mask says so."""
        for name, values in columns.items():
            own = getattr(self, name)
            own[mask] = np.broadcast_to(values, own.shape)[mask]


@dataclass(frozen=True)
class Buyers:
    """Who pays where, by which channel, and when."""

    card: Ints
    merchant: Ints
    channel: Ints
    at: Doubles


def moments(random: np.random.Generator, start: float, end: float, count: int) -> Doubles:
    """Sorted moments of `count` payments between two times: busiest at PEAK_HOUR, a quarter of that at night."""
    grid = np.linspace(start, end, max(2, int((end - start) / 600)))
    rate = 1 + 0.6 * np.cos((grid % DAY / 3600 - PEAK_HOUR) * (2 * np.pi / 24))
    share = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
    drawn: Doubles = np.interp(np.sort(random.random(count)), share / share[-1], grid)
    return drawn


@dataclass(frozen=True)
class Scene:
    """The world's people and their habits, as its payments are made from them."""

    seed: int
    who: Cast

    def payments(self, random: np.random.Generator, habits: Habits, turn: Ints, at: Doubles, new: Doubles) -> Payments:
        """A payment for each turn and moment; `new` is the share of the attackers' kits that have turned."""
        made = self._honest(random, habits, at)
        self._sale(random, made, habits, SALE.strikes(self.seed, turn), turn)
        self._spree(random, made, habits, SPREE.strikes(self.seed, turn), turn)
        for lane, old, novel in ((TESTING, self._testing, self._farm), (TAKEOVER, self._takeover, self._scam)):
            struck = lane.strikes(self.seed, turn)
            if struck.any():
                kit = attacks.kit_of(self.seed, lane, turn, at)
                turned = attacks.turned(self.seed, kit, new)
                old(random, made, habits, struck & ~turned, kit)
                novel(random, made, habits, struck & turned, kit)
        return made

    def own_device(self, card: Ints, at: Doubles) -> tuple[Ints, Doubles]:
        """The device of a card's holder at a time, and the days since it was new."""
        lives = (at / DAY + self.who.age_days[card]) / self.who.device_days[card]
        turn = np.floor(lives)
        return OWN + card * TURNS + turn.astype(np.int64) % TURNS, (lives - turn) * self.who.device_days[card]

    def _honest(self, random: np.random.Generator, habits: Habits, at: Doubles) -> Payments:
        who, count = self.who, len(at)
        card = weighted(random.random(count), habits.activity)
        channel = weighted(random.random(count), habits.channels)
        shop = weighted(random.random(count), habits.popularity * ~who.online)
        site = weighted(random.random(count), habits.popularity * who.online)
        merchant = np.where(channel == IN_STORE, shop, site)
        device, known = self._device(random, habits, Buyers(card, merchant, channel, at))
        return Payments(
            at=at,
            card=card,
            device=device,
            merchant=merchant,
            channel=channel,
            country=self._country(habits, card, at),
            amount=self._amount(random, habits, card, merchant),
            device_known_days=known,
        )

    def _device(self, random: np.random.Generator, habits: Habits, who: Buyers) -> tuple[Ints, Doubles]:
        """A shop's terminal in store, else the holder's own device; now and then somebody else's."""
        count = len(who.at)
        own, known = self.own_device(who.card, who.at)
        guest = random.random(count) < habits.guests
        device = np.where(guest, GUESTS + random.integers(0, GUEST_DEVICES, count), own)
        known = np.where(guest, _new(random, count), known)
        in_store = who.channel == IN_STORE
        terminal_days = TERMINAL_DAYS * (1 + who.merchant % 97)
        return np.where(in_store, TERMINALS + who.merchant, device), np.where(in_store, terminal_days, known)

    def _country(self, habits: Habits, card: Ints, at: Doubles) -> Ints:
        """Home, or where the trip of this week leads."""
        week = np.floor(at / WEEK).astype(np.int64)
        away = uniform(self.seed, TRIP, card, week) < habits.travelling
        there = (uniform(self.seed, TRIP + 1, card, week) * len(COUNTRIES)).astype(np.int64)
        return np.where(away, there, self.who.home[card])

    def _amount(self, random: np.random.Generator, habits: Habits, card: Ints, merchant: Ints) -> Doubles:
        category = self.who.category[merchant]
        typical = USUAL[category] + habits.generosity + self.who.affluence[card] * 0.6
        return _cents(np.exp(typical + SPREAD[category] * random.normal(size=len(card))))

    def _sale(self, random: np.random.Generator, made: Payments, habits: Habits, mask: Mask, turn: Ints) -> None:
        """Everybody buys at one merchant: its counts rise, and nothing is wrong."""
        if not mask.any():
            return
        selling = self.who.sellers("fashion", "electronics", "digital", "gift_cards")
        merchant = weighted(
            uniform(self.seed, PLACE, turn // SALE.block, attacks.day_of(made.at)), habits.popularity * selling
        )
        device, known = self.own_device(made.card, made.at)
        channel = np.where(random.random(len(mask)) < 0.5, WEB, APP)
        amount = self._amount(random, habits, made.card, merchant)
        made.put(mask, merchant=merchant, device=device, device_known_days=known, channel=channel, amount=amount)

    def _spree(self, random: np.random.Generator, made: Payments, habits: Habits, mask: Mask, turn: Ints) -> None:
        """One player tops up a game: many small payments of one card on one device."""
        if not mask.any():
            return
        block = turn // SPREE.block
        card = weighted(uniform(self.seed, PLACE + 1, block), habits.activity)
        merchant = weighted(uniform(self.seed, PLACE + 2, block), habits.popularity * self.who.sellers("digital"))
        device, known = self.own_device(card, made.at)
        made.put(mask, card=card, merchant=merchant, device=device, device_known_days=known)
        amount = _cents(np.exp(random.normal(1.3, 0.8, len(mask))))
        channel = np.where(card % 2 == 0, WEB, APP)
        made.put(mask, channel=channel, country=self._country(habits, card, made.at), amount=amount)

    def _testing(self, random: np.random.Generator, made: Payments, habits: Habits, mask: Mask, kit: Ints) -> None:
        merchant = self._place(habits, kit, self.who.sellers("digital", "fashion"))
        amount = _cents(np.exp(random.normal(1.7, 0.7, len(mask))))
        made.put(mask, device=attacks.TESTERS + kit % POOL, merchant=merchant, channel=WEB, amount=amount)
        made.put(mask, country=self._abroad(kit, made.card, 0.6), device_known_days=_new(random, len(mask)))

    def _takeover(self, random: np.random.Generator, made: Payments, habits: Habits, mask: Mask, kit: Ints) -> None:
        card = weighted(uniform(self.seed, KIT, kit), habits.activity)
        merchant = weighted(
            random.random(len(mask)), habits.popularity * self.who.sellers("electronics", "travel", "gift_cards")
        )
        amount = _cents(np.exp(random.normal(4.9, 0.7, len(mask))))
        made.put(mask, card=card, device=attacks.TAKERS + kit % POOL, merchant=merchant, channel=WEB, amount=amount)
        made.put(mask, country=self._abroad(kit, card, 0.65), device_known_days=_new(random, len(mask)))

    def _farm(self, random: np.random.Generator, made: Payments, habits: Habits, mask: Mask, kit: Ints) -> None:
        device = (kit * FARMED + random.integers(0, FARMED, len(mask))) % POOL
        merchant = self._place(habits, kit, self.who.sellers("gift_cards"))
        amount = _cents(np.exp(random.normal(4.3, 0.08, len(mask))))
        made.put(mask, device=attacks.FARM + device, merchant=merchant, channel=APP, amount=amount)
        made.put(
            mask, country=self.who.home[made.card], device_known_days=60 + 400 * uniform(self.seed, KIT + 1, device)
        )

    def _scam(self, random: np.random.Generator, made: Payments, habits: Habits, mask: Mask, kit: Ints) -> None:
        card = attacks.victim_of(kit)
        device, known = self.own_device(card, made.at)
        merchant = weighted(random.random(len(mask)), habits.popularity * self.who.sellers("crypto"))
        amount = _cents(np.exp(random.normal(5.4, 0.08, len(mask))))
        made.put(mask, card=card, device=device, device_known_days=known, merchant=merchant)
        made.put(mask, channel=APP, country=self.who.home[card], amount=amount)

    def _place(self, habits: Habits, kit: Ints, selling: Mask) -> Ints:
        """The merchant that a kit is used at."""
        return weighted(uniform(self.seed, KIT + 2, kit), np.sqrt(habits.popularity) * selling)

    def _abroad(self, kit: Ints, card: Ints, share: float) -> Ints:
        """A country of the attacker's own, or behind a proxy at the victim's home."""
        there = (uniform(self.seed, KIT + 3, kit) * len(COUNTRIES)).astype(np.int64)
        return np.where(uniform(self.seed, KIT + 4, kit) < share, there, self.who.home[card])


def hurried(seed: int, turn: Ints, at: Doubles) -> Doubles:
    """The moments with the payments of each burst drawn together, as they come in a busier world: a history has few
    payments a minute, and an attack would take half an hour in it. In no order any more."""
    at = at.copy()
    for lane, gap in ((TESTING, 15.0), (TAKEOVER, 60.0), (SPREE, 40.0)):
        struck = np.flatnonzero(lane.strikes(seed, turn))
        at[struck] = _drawn_together(seed, lane, turn[struck], at[struck], gap)
    return at


def _drawn_together(seed: int, lane: Lane, turn: Ints, at: Doubles, gap: float) -> Doubles:
    """Exponential gaps after the first payment of each block."""
    if not len(turn):
        return at
    block = turn // lane.block
    first = np.flatnonzero(np.append(True, block[1:] != block[:-1]))
    size = np.diff(np.append(first, len(turn)))
    gaps = -np.log1p(-uniform(seed, lane.salt + 3, turn)) * gap
    gaps[first] = 0.0
    passed = np.cumsum(gaps)
    return np.repeat(at[first] - passed[first], size) + passed


def _new(random: np.random.Generator, count: int) -> Doubles:
    """The days since a device was first seen that is used for a few payments and thrown away."""
    return random.exponential(0.7, count)


def _cents(amount: Doubles) -> Doubles:
    return np.maximum(np.round(amount, 2), 0.5)
