"""The states that a reader keeps: found again for a while, bounded, and gone with their watermark."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.state_cache import FEW, Entity, StateCache, States


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def states(entities: list[Entity], version: int = 0) -> States:
    values = np.array([[hash(entity) % 97 + version] for entity in entities], np.float32).reshape(-1, 1)
    return States(values, np.full(len(entities), version, np.int64), np.zeros(len(entities), bool))


def entities(*names: str) -> list[Entity]:
    return [(name,) for name in names]


def test_what_is_kept_is_found_in_any_order_and_the_rest_is_named() -> None:
    cache = StateCache(1)
    cache.keep(entities("a", "b"), states(entities("a", "b")), b"1")
    found, unread = cache.find(entities("x", "b", "a", "y"))
    assert unread.tolist() == [0, 3]
    assert np.array_equal(found.values[1:3], states(entities("b", "a")).values)


def test_it_is_read_again_after_its_age() -> None:
    time = Time()
    cache = StateCache(1, max_age=30.0, time=time)
    cache.keep(entities("a"), states(entities("a")), b"1")
    time.now = 15.0
    assert cache.find(entities("a"))[1].tolist() == []
    time.now = 30.1
    assert cache.find(entities("a"))[1].tolist() == [0]
    cache.keep(entities("a"), states(entities("a"), 1), b"1")
    found, unread = cache.find(entities("a"))
    assert (unread.tolist(), found.stamps.tolist()) == ([], [1])


def test_what_was_read_at_once_is_not_read_again_at_once() -> None:
    """Else a minute after the first requests, and every minute from then on, all of them wait for Redis."""
    time, many = Time(), entities(*map(str, range(400)))
    cache = StateCache(1, max_age=30.0, time=time)
    for entity in many:
        cache.keep([entity], states([entity]), b"1")
    ended = []
    for time.now in (15.0, 20.0, 25.0, 30.1):
        ended.append(len(cache.find(many)[1]))
    assert ended[0] == 0
    assert np.diff(ended).min() > 50
    assert ended[-1] == 400


@pytest.mark.parametrize("watermark", [b"2", None])
def test_another_watermark_ends_what_was_kept(watermark: bytes | None) -> None:
    cache = StateCache(1)
    cache.keep(entities("a"), states(entities("a")), b"1")
    cache.keep(entities("b"), states(entities("b")), watermark)
    assert cache.find(entities("a"))[1].tolist() == [0]
    assert cache.find(entities("b"))[1].tolist() == ([] if watermark else [0])


def test_a_row_that_was_found_is_the_callers_own() -> None:
    cache = StateCache(1)
    cache.keep(entities("a"), states(entities("a")), b"1")
    found, _ = cache.find(entities("a"))
    found.values[:] = -1
    assert cache.find(entities("a"))[0].values.tolist() == states(entities("a")).values.tolist()


@given(st.lists(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=1, unique=True), max_size=12))
def test_it_holds_the_newest_and_no_more_than_its_capacity(rounds: list[list[str]]) -> None:
    cache = StateCache(1, capacity=8)
    version: dict[Entity, int] = {}
    for number, names in enumerate(rounds):
        cache.keep(entities(*names), states(entities(*names), number), b"1")
        version |= dict.fromkeys(entities(*names), number)
    everything = entities(*"abcdefghijklmnop")
    found, unread = cache.find(everything)
    kept = [i for i in range(16) if i not in unread]
    assert len(kept) <= 8
    if rounds:
        assert everything.index((rounds[-1][-1],)) in kept
    for i in kept:
        assert found.stamps[i] == version[everything[i]]
        assert found.values[i] == hash(everything[i]) % 97 + version[everything[i]]


@pytest.mark.parametrize("size", [1, FEW, FEW + 1, 400])
def test_kept_in_pieces_of_any_size_each_is_found_by_itself_and_among_others(size: int) -> None:
    names = entities(*map(str, range(400)))
    cache = StateCache(1)
    for version in (0, 1):  # the second time they stand there already
        for first in range(0, len(names), size):
            cache.keep(names[first : first + size], states(names[first : first + size], version), b"1")
    found, unread = cache.find(names)
    assert unread.tolist() == []
    assert np.array_equal(found.values, states(names, 1).values)
    for place, name in enumerate(names):
        alone, unread = cache.find([name])
        assert unread.tolist() == []
        assert (alone.values[0], alone.stamps[0], alone.missing[0]) == (found.values[place], 1, False)


def test_whoever_was_read_longest_ago_makes_room() -> None:
    time = Time()
    cache = StateCache(1, capacity=8, time=time)
    for name in "abcdefgh" + "a" + "i":
        time.now += 1.0
        cache.keep(entities(name), states(entities(name)), b"1")
    _, unread = cache.find(entities(*"abcdefghi"))
    assert unread.tolist() == [1]


def test_of_many_that_fit_nearly_all_are_kept() -> None:
    names = entities(*map(str, range(10_000)))
    cache = StateCache(1)
    for first in range(0, len(names), 500):
        cache.keep(names[first : first + 500], states(names[first : first + 500]), b"1")
    found, unread = cache.find(names)
    known = np.setdiff1d(np.arange(len(names)), unread)
    assert len(known) > 9_000
    assert np.array_equal(found.values[known], states(names).values[known])


@pytest.mark.parametrize("capacity", [0, 4, 12])
def test_a_capacity_that_does_not_divide_into_sets_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"capacity is {capacity}"):
        StateCache(1, capacity=capacity)
