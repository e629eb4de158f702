"""Who attacks whom, and when: attacks are functions of the seed, the day and the turn, so nobody has to remember them.

Payments come in turns: one after the other, whatever the hour. A lane cuts the turns into blocks; now and then a block
is an attack, and then many of its turns are payments of that attack. So an attack is a burst of payments at any rate of
traffic, and consecutive requests continue it. Each attack is carried out with one of the day's kits.

| lane | kind of attack | what it looks like |
|---|---|---|
| testing | stolen cards are tried out | many small payments of many cards, on one new device, at one digital merchant |
| takeover | an account is taken over | a few large payments of one card, on a new device, often from abroad |

When the concept drifts, kits turn to what nobody has seen: testing becomes a farm (aged devices, home country, gift
cards of usual amounts), takeovers become scams (the victims themselves pay, on their own devices, to buy crypto).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from systems.fraud_detection.draws import Doubles, Ints, uniform
from systems.fraud_detection.population import ATTACKERS, CARDS, POOL

DAY = 86_400.0
KITS = 64  # of each lane a day
OVERTIME = 3_600.0  # seconds of the next day in which a kit is still in use
TURNED = 900  # salt


@dataclass(frozen=True)
class Lane:
    """`share` of all turns are payments of this lane; in a block that is an attack, `density` of them are."""

    salt: int
    block: int
    density: float
    share: float

    def strikes(self, seed: int, turn: Ints) -> NDArray[np.bool_]:
        """Which turns are payments of an attack."""
        struck = uniform(seed, self.salt, turn // self.block) < self.share / self.density
        return struck & (uniform(seed, self.salt + 1, turn) < self.density)


TESTING = Lane(salt=100, block=40, density=0.5, share=0.006)
TAKEOVER = Lane(salt=200, block=12, density=0.4, share=0.0045)
# Honest bursts, for a count alone shall not give an attack away.
SPREE = Lane(salt=300, block=24, density=0.5, share=0.02)  # one player tops up a game
SALE = Lane(salt=400, block=120, density=0.4, share=0.03)  # everybody buys at one merchant

# Pools of devices, by number.
TESTERS, TAKERS, FARM = ATTACKERS, ATTACKERS + POOL, ATTACKERS + 2 * POOL
FARMED = 4  # devices of one farm


def day_of(at: Doubles) -> Ints:
    return np.floor(at / DAY).astype(np.int64)


def kit_of(seed: int, lane: Lane, turn: Ints, at: Doubles) -> Ints:
    """The kit with which the block of a turn is carried out: one of its day's."""
    day = day_of(at)
    chosen = uniform(seed, lane.salt + 2, turn // lane.block, day) * KITS
    kit: Ints = day * KITS + chosen.astype(np.int64)
    return kit


def kit_in_use(number: Ints, cycle: int, at: Doubles) -> Ints:
    """The kit that uses the `number`th of `cycle` things (devices, victims) at that time; -1 when none does."""
    kit = np.full(np.broadcast(number, at).shape, -1, dtype=np.int64)
    for moment in (at - OVERTIME, at):
        first = day_of(moment) * KITS
        offset = (number - first) % cycle
        kit = np.where((number >= 0) & (offset < KITS), first + offset, kit)
    return kit


def turned(seed: int, kit: Ints, strength: Doubles) -> NDArray[np.bool_]:
    """Which kits have turned to the new kind of attack, when `strength` of them have."""
    return uniform(seed, TURNED, kit) < strength


def victim_of(kit: Ints) -> Ints:
    """The card whose holder is taken in by a scam."""
    return kit % CARDS
