"""The systems' online metrics, measured from the log as it is kept, are what really happened in their worlds."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import systems
from contracts.records import OutcomeRecord, PredictionRecord
from contracts.system import AT, Columns, Evidence, System
from contracts.world import World
from infra.archive import ParquetArchive
from monitoring.online import EVERYTHING, gathered, measure
from monitoring.ratio import Estimate
from systems.fraud_detection import costs

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def answers(system: System, world: World, count: int) -> Iterator[tuple[PredictionRecord, Any, Columns]]:
    """Requests answered by noisy true probabilities: the record, the request's body and its rows."""
    random = np.random.default_rng(0)
    assert system.serving.rows is not None
    for number, body in enumerate(world.requests(count, NOON, 0)):
        request = system.task.request.model_validate(body)
        rows = system.serving.rows(request)
        length = len(next(iter(rows.values())))
        rows = {**rows, AT: np.full(length, NOON.timestamp())}
        odds = np.log(np.clip(world.truth(rows), 1e-6, 1 - 1e-6))
        scores = 1 / (1 + np.exp(-odds - 0.3 * random.normal(size=length)))
        features = dict.fromkeys(system.features.names, np.zeros(length))
        decision = system.serving.respond(request, Evidence(rows, features, scores), random)
        yield (
            PredictionRecord(
                *(f"p{number}", system.name, NOON, "1", "champion", body, rows, system.features.names),
                features=np.zeros((length, len(system.features.names)), np.float32),
                scores=scores,
                shown=decision.shown,
                propensity=decision.propensity,
                result=decision.result.model_dump(),
                review=decision.review,
            ),
            body,
            rows,
        )


def measured(
    system: System, world: World, folder: Path, count: int
) -> tuple[Mapping[str, Estimate], list[PredictionRecord], list[Any]]:
    """What is measured from the archive, the records in it, and all that clients reported."""
    archive, records, told = ParquetArchive(folder), [], []
    for record, body, _ in answers(system, world, count):
        records.append(record)
        told += [
            OutcomeRecord(
                *(record.prediction_id, system.name, one.item, one.label, one.occurred_at),
                received_at=one.occurred_at,
                source=one.source,
            )
            for one in world.outcomes(body, record.result, NOON, 0)
        ]
    archive.append([*records, *told])
    now = NOON + system.requirements.label_delay + HOUR / 2
    found = gathered(system, archive, (now - HOUR, now), now)
    found |= {"answers": gathered(system, archive, (NOON - HOUR / 2, NOON + HOUR / 2), now)["answers"]}
    every = measure(system.requirements.online_metrics, found, ())
    return {each.metric: each.estimate for each in every if each.slice == EVERYTHING}, records, told


def test_clicks_revenue_and_hides_of_ads_are_those_that_happened(tmp_path: Path) -> None:
    system = systems.load("ad_click")
    found, records, told = measured(system, system.world(0), tmp_path, 1_500)
    in_time = [one for one in told if one.occurred_at <= NOON + system.requirements.label_delay]
    bids = {(r.prediction_id, ad): bid for r in records for ad, bid in zip(r.rows["ad_id"], r.rows["bid"], strict=True)}
    shown = sum(len(record.shown) for record in records)
    clicked = [bids[one.prediction_id, one.item] for one in in_time if one.label == 1]
    assert 0 < len(clicked) < len(told) < shown
    assert found["click-through rate"].value == pytest.approx(len(clicked) / shown)
    assert found["revenue per thousand impressions"].value == pytest.approx(1000 * sum(clicked) / shown)
    assert found["hide rate"].value == pytest.approx((len(in_time) - len(clicked)) / shown)
    assert found["hide rate"].value > 0


def test_what_decisions_on_payments_cost_is_found_from_the_few_that_have_labels(tmp_path: Path) -> None:
    system = systems.load("fraud_detection")
    world = system.world(0)
    found, records, _ = measured(system, world, tmp_path, 6_000)
    rows = {name: np.concatenate([r.rows[name] for r in records]) for name in records[0].rows}
    scores, truth = np.concatenate([r.scores for r in records]), world.truth(rows)
    taken = costs.decisions(scores, rows["amount"])
    expected = float(costs.expected(truth, rows["amount"])[np.arange(len(taken)), taken].mean())
    assert found["cost per payment"].value == pytest.approx(expected, rel=0.25)
    stopped = taken != costs.APPROVE
    caught = float((truth * rows["amount"])[stopped].sum() / (truth * rows["amount"]).sum())
    assert found["fraud caught"].value == pytest.approx(caught, abs=0.25)
    verdicts = [record.result["decision"] for record in records]
    assert found["approval rate"].value == pytest.approx(verdicts.count("approve") / len(verdicts))
    assert found["share declined"].value == pytest.approx(verdicts.count("decline") / len(verdicts))
    assert found["review share"].value == pytest.approx(np.mean([record.review for record in records]))


@pytest.mark.parametrize("name", systems.names())
def test_every_system_names_metrics_that_its_log_can_answer(name: str, tmp_path: Path) -> None:
    system = systems.load(name)
    frame = ParquetArchive(tmp_path).labelled(system, NOON - HOUR, NOON, NOON)
    columns = {str(column): frame[column].to_numpy() for column in frame.columns} | {"reported": np.empty(0, bool)}
    for metric in system.requirements.online_metrics:
        numerator, denominator = metric.value(columns)
        assert len(numerator) == len(denominator) == 0
    names = [metric.name for metric in system.requirements.online_metrics]
    assert len(set(names)) == len(names) > 0
