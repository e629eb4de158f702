"""What the measurements have in common: Redis by itself, how a figure is told, and costs as JSON can hold them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict

import redis

from benchmarks.paths.alone import Cost
from benchmarks.serving.contenders import stack
from infra.settings import Settings

Say = Callable[[str], None]
REDIS = "redis"  # no contender of the serving benchmark: its stack is Redis and nothing else


@contextmanager
def redis_alone(settings: Settings) -> Iterator[redis.Redis]:
    """A stack of Redis and nothing else, as the platform starts it; a client of it."""
    with stack(settings, REDIS), redis.Redis.from_url(settings.redis) as client:
        yield client


def told(say: Say, what: str, cost: Cost) -> None:
    """One figure, as soon as it is known."""
    say(f"{what}: {cost.seconds:.2f} s, {cost.processor:.2f} s CPU, peak {cost.peak:.2f} GB")


def plain(costs: Mapping[str, Mapping[int, list[Cost]]]) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Costs by contender and by how many times the size, as JSON has it."""
    return {
        name: {str(times): [asdict(one) for one in each] for times, each in sizes.items()}
        for name, sizes in costs.items()
    }
