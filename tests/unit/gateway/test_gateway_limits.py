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


def test_a_breaker_lets_one_probe_through_a_second() -> None:
    hand = Hand()
    breaker = Breaker("It", hand)
    for _ in range(3):
        breaker.check()
        breaker.failed(0.2)
    with pytest.raises(Unavailable, match="It did not answer"):
        breaker.check()
    hand.at += 1.0
    breaker.check()
    with pytest.raises(Unavailable):
        breaker.check()
    breaker.succeeded()
    breaker.check()


def test_failures_that_cost_no_time_leave_a_breaker_closed() -> None:
    breaker = Breaker("It", Hand())
    for _ in range(100):
        breaker.failed(0.001)
        breaker.check()
