"""Rates and quantiles are those of what lies between two scrapes, of one system or of all."""

import math

import pytest

from services.console.exposition import Exposition
from services.console.traffic import REQUESTS, Scrapes, quantile, traffic
from services.gateway.metrics import Metrics


def scraped(metrics: Metrics) -> Exposition:
    return Exposition.parse(metrics.exposition().decode())


def served(metrics: Metrics, system: str, seconds: float, times: int) -> None:
    for _ in range(times):
        metrics.requests_of("predictions", system, "200").inc()
        metrics.seconds_of(system, "predictions").observe(seconds)
        metrics.seconds_of(system, "features").observe(seconds / 2)
        metrics.candidates_of(system).observe(10)


def test_what_was_before_the_first_scrape_does_not_count() -> None:
    metrics, scrapes = Metrics(), Scrapes(REQUESTS)
    served(metrics, "slow", 2.0, 500)
    scrapes.add(100.0, scraped(metrics))
    served(metrics, "slow", 0.004, 30)
    served(metrics, "quick", 0.0015, 90)
    metrics.fallbacks.labels("slow").inc(3)
    scrapes.add(110.0, scraped(metrics))
    gain = scrapes.gain()
    assert gain is not None
    every, slow = traffic(gain), traffic(gain, "slow")
    assert every.predictions == pytest.approx(12.0)
    assert slow.predictions == pytest.approx(3.0)
    assert 0.003 <= slow.whole.p50 <= 0.005
    assert 0.001 <= every.whole.p50 <= 0.002
    assert every.whole.p99 == pytest.approx(0.00497, abs=1e-4)
    assert slow.stages["features"].p99 < slow.whole.p99
    assert slow.fallback == pytest.approx(0.1)
    assert every.rows == pytest.approx(10.0)


def test_of_nothing_there_are_no_quantiles_and_no_shares() -> None:
    metrics, scrapes = Metrics(), Scrapes(REQUESTS)
    assert scrapes.gain() is None
    scrapes.add(0.0, scraped(metrics))
    assert scrapes.gain() is None, "one scrape is no rate"
    scrapes.add(5.0, scraped(metrics))
    gain = scrapes.gain()
    assert gain is not None
    now = traffic(gain)
    assert (now.predictions, now.outcomes, now.refused) == (0, 0, 0)
    assert all(math.isnan(value) for value in (now.whole.p50, now.fallback, now.stale, now.rows, now.target))


def test_a_gateway_that_started_anew_is_measured_anew() -> None:
    old, new, scrapes = Metrics(), Metrics(), Scrapes(REQUESTS)
    served(old, "ads", 0.01, 1000)
    served(new, "ads", 0.01, 10)
    scrapes.add(0.0, scraped(old))
    scrapes.add(2.0, scraped(new))
    assert scrapes.gain() is None
    served(new, "ads", 0.01, 10)
    scrapes.add(4.0, scraped(new))
    gain = scrapes.gain()
    assert gain is not None
    assert traffic(gain).predictions == pytest.approx(5.0)


def test_only_the_last_half_minute_counts() -> None:
    metrics, scrapes = Metrics(), Scrapes(REQUESTS)
    for at in range(0, 120, 2):
        served(metrics, "ads", 0.01, 40 if at < 60 else 2)
        scrapes.add(float(at), scraped(metrics))
    gain = scrapes.gain()
    assert gain is not None
    assert traffic(gain).predictions == pytest.approx(1.0)


def test_degraded_answers_are_told_apart_by_their_reason() -> None:
    metrics, scrapes = Metrics(), Scrapes(REQUESTS)
    served(metrics, "ads", 0.01, 1)
    scrapes.add(0.0, scraped(metrics))
    served(metrics, "ads", 0.01, 10)
    for reason, count in (("user: stale", 5), ("ad: missing", 2), ("features: unavailable", 1), ("model: late", 9)):
        metrics.degraded.labels("ads", reason).inc(count)
    scrapes.add(1.0, scraped(metrics))
    gain = scrapes.gain()
    assert gain is not None
    assert traffic(gain).stale == pytest.approx(0.5)
    assert traffic(gain).missing == pytest.approx(0.3)


def test_a_quantile_is_interpolated_within_its_bucket_and_says_when_it_is_beyond_the_last() -> None:
    buckets = {"0.1": 50.0, "0.2": 100.0, "+Inf": 100.0}
    assert quantile(0.5, buckets) == pytest.approx(0.1)
    assert quantile(0.75, buckets) == pytest.approx(0.15)
    assert quantile(0.99, {"0.1": 50.0, "+Inf": 100.0}) == math.inf
    assert math.isnan(quantile(0.5, {"0.1": 0.0, "+Inf": 0.0}))
    assert math.isnan(quantile(0.5, {}))
