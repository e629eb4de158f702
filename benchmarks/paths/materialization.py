"""The latest states of many entities, copied from Parquet to Redis: as the platform does it, and by Feast's own
`materialize` at its defaults."""

import hashlib
from pathlib import Path
from typing import Any

import redis

from benchmarks.isolated import settings_in
from benchmarks.paths.alone import OURS, Cost, alone
from benchmarks.paths.data import COPIED, FEATURES
from benchmarks.paths.plan import TIMES, Plan
from benchmarks.paths.runs import Say, plain, redis_alone, told
from contracts.errors import FlywheelError
from infra.feast_layout import watermark_key

COMPARATOR = "file"  # Feast's default offline store
CHUNK = 5_000  # keys a round trip


def measure(plan: Plan, folder: Path, say: Say) -> dict[str, Any]:
    """Costs by contender and size, as many as there were repeats; FlywheelError when what is in Redis differs."""
    costs: dict[str, dict[int, list[Cost]]] = {OURS: {times: [] for times in TIMES}, COMPARATOR: {1: []}}
    settings = {times: settings_in(folder / str(times)) for times in TIMES}
    for times, each in settings.items():
        say(f"writes the states of {times * plan.entities:,} entities")
        alone(each, "prepare_materialize", entities=times * plan.entities, times=times)
    for _ in range(plan.repeats):
        for times, each in settings.items():
            with redis_alone(each) as client:
                ours = _copied(client, each, OURS, say)
                costs[OURS][times].append(ours[0])
                if times == 1:
                    theirs = _copied(client, each, COMPARATOR, say)
                    costs[COMPARATOR][1].append(theirs[0])
                    _check_same(ours[1:], theirs[1:])
                    entities = ours[1]
    sizes = {"entities": entities, "asked": plan.entities, "features": FEATURES}
    return {"costs": plain(costs), "sizes": sizes}


def _copied(client: redis.Redis, settings: Any, contender: str, say: Say) -> tuple[Cost, int, str]:
    """Into an empty Redis: the cost, how many entities are there then, and the digest of all they hold."""
    client.flushall()
    cost = alone(settings, "materialize", contender)
    client.delete(watermark_key(COPIED))  # the platform's own note of how far it is, which Feast has not
    entities, digest = _held(client)
    told(say, f"{contender}, {entities:,} entities", cost)
    return cost, entities, digest


def _held(client: redis.Redis) -> tuple[int, str]:
    """How many keys Redis holds, and the digest of all keys, fields and values, whatever their order."""
    keys = sorted(client.scan_iter(count=CHUNK))
    digest = hashlib.sha256()
    for first in range(0, len(keys), CHUNK):
        with client.pipeline(transaction=False) as asking:
            for key in keys[first : first + CHUNK]:
                asking.hgetall(key)
            for key, held in zip(keys[first : first + CHUNK], asking.execute(), strict=True):
                digest.update(repr((key, sorted(held.items()))).encode())
    return len(keys), digest.hexdigest()


def _check_same(ours: tuple[int, str], theirs: tuple[int, str]) -> None:
    if ours[0] == 0 or ours != theirs:
        raise FlywheelError(f"Redis holds {ours[0]:,} entities by Flywheel, {theirs[0]:,} by Feast, and not the same.")
