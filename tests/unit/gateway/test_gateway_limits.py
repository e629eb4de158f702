"""The token bucket and the breaker, by a clock that the test holds."""

import pytest

from contracts.errors import Unavailable
from services.gateway.limits import Breaker, TokenBucket


class Hand:
    """A clock's hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_a_bucket_gives_a_seconds_worth_at_once_and_then_its_rate() -> None:
    hand = Hand()
    bucket = TokenBucket(10.0, hand)
    assert [bucket.take() for _ in range(11)] == [0] * 10 + [1]
    hand.at += 0.5
    assert [bucket.take() for _ in range(6)] == [0] * 5 + [1]
    hand.at += 1000.0
    assert [bucket.take() for _ in range(11)] == [0] * 10 + [1]


def test_a_slow_bucket_says_how_long_to_wait() -> None:
    bucket = TokenBucket(0.1, Hand())
    assert bucket.take() == 0
    assert bucket.take() == 10


def test_a_breaker_lets_one_probe_through_at_a_time() -> None:
    hand = Hand()
    breaker = Breaker("It", hand)
    for _ in range(3):
        breaker.check()
        hand.at += 0.2
        breaker.failed(0.2)
    with pytest.raises(Unavailable, match="It did not answer"):
        breaker.check()
    hand.at += 0.25
    breaker.check()
    with pytest.raises(Unavailable):
        breaker.check()
    breaker.succeeded()
    breaker.check()


def test_calls_that_hang_side_by_side_count_as_one_failure() -> None:
    hand = Hand()
    breaker = Breaker("It", hand)
    for pause in range(3):
        breaker.check()
        hand.at += 0.2
        for _ in range(50):
            breaker.failed(0.2)
            hand.at += 0.001
        assert breaker.failures == pause + 1
    with pytest.raises(Unavailable, match="the last 3 times"):
        breaker.check()


def test_failures_that_cost_no_time_leave_a_breaker_closed() -> None:
    breaker = Breaker("It", Hand())
    for _ in range(100):
        breaker.failed(0.001)
        breaker.check()
