"""What is measured, in which sizes."""

from dataclasses import dataclass

SEED = 2026_11_23
TIMES = (1, 2)  # every size, and twice that


@dataclass(frozen=True)
class Plan:
    """Sizes of the smaller of two runs; the larger one has twice as many of everything."""

    rows: int = 1_000_000  # of a training set
    users: int = 50_000  # … with states of so many entities
    items: int = 20_000
    categories: int = 500
    entities: int = 100_000  # materialised
    records: int = 60_000  # in the log
    history: int = 150_000  # events of a system's history before its first model; the gate refuses one on few
    repeats: int = 3  # of the two runs, one after the other in turn
    quick: bool = False


QUICK = Plan(
    rows=20_000,
    users=500,
    items=200,
    categories=20,
    entities=1_000,
    records=4_000,
    repeats=1,
    quick=True,
)
