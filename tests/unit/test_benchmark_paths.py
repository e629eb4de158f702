"""The benchmark of the paths beside that of a prediction: what its steps do, its checks, its tables."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import tables
from benchmarks.isolated import settings_in
from benchmarks.paths import data, first_prediction, recorder, report, training_set, worker
from benchmarks.paths.__main__ import MEASUREMENTS, README, main, results
from benchmarks.paths.alone import OURS, alone
from benchmarks.paths.kept import keep, kept
from benchmarks.paths.plan import QUICK, Plan
from benchmarks.paths.runs import redis_alone
from contracts.errors import FlywheelError, InvalidInput, Unavailable
from contracts.system import AT
from infra.settings import Settings

TINY = replace(QUICK, rows=300, users=30, items=20, categories=5)


def costs(seconds: float, processor: float, peak: float) -> list[dict[str, float]]:
    return [{"seconds": seconds, "processor": processor, "peak": peak}]


def about() -> dict[str, Any]:
    return {
        "date": "2026-11-21",
        "machine": "a machine",
        "busy_cores_before": 0.1,
        "versions": {"feast": "0"},
        "plan": asdict(QUICK),
    }


def joined(one: list[dict[str, float]], two: list[dict[str, float]]) -> dict[str, Any]:
    """Results of training sets of these costs."""
    figures = {
        "costs": {OURS: {"1": one, "2": two}, "file": {"1": costs(8.0, 8.0, 2.0)}},
        "sizes": {"rows": 1000, "views": 3, "features": 24},
        "same": {"file": {"rows": 900, "values": 21_600, "left_out": 100}},
    }
    return {"about": about(), "figures": figures}


def drains(seconds: float) -> list[dict[str, float]]:
    return [{"records": 1000, "seconds": seconds, "processor": seconds / 2, "memory": 0.1}]


def verdicts(table: str) -> list[str]:
    """The last column of the tables of targets in a text."""
    rows = table.partition("| target |")[2].splitlines()[2:]
    return [row.strip(" |").split("|")[-1].strip() for row in rows if row.startswith("|")]


@pytest.fixture
def written(tmp_path: Path) -> Settings:
    """A state folder with the states and rows of a tiny training set."""
    settings = settings_in(tmp_path)
    data.write_joined(settings, TINY, 1)
    return settings


def test_rows_and_states_leave_some_rows_without_a_state_that_is_young_enough(written: Settings) -> None:
    rows = pd.read_parquet(data.rows_path(written))
    assert len(rows) == TINY.rows
    assert rows[AT].between(data.FIRST.timestamp(), data.UNTIL.timestamp()).all()
    values = training_set.values_of(written, OURS)
    worker.join(written, {"contender": OURS, "values": str(values)})
    found = np.load(values)["values"]
    assert found.shape == (TINY.rows, 24)
    missing = (found == data.DEFAULT).any(axis=1).mean()
    assert 0.05 < missing < 0.5
    assert (found[found != data.DEFAULT] >= 0).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # Feast's own stores, as they are
@pytest.mark.parametrize("comparator", training_set.COMPARATORS)
def test_a_comparators_values_are_held_against_ours(written: Settings, comparator: str) -> None:
    for contender in (OURS, comparator):
        path = str(training_set.values_of(written, contender))
        worker.join(written, {"contender": contender, "values": path})
    same = training_set.same(written, comparator)
    assert same["rows"] + same["left_out"] == TINY.rows
    assert same["values"] == same["rows"] * 24 > 0


def test_a_value_that_differs_is_an_error(written: Settings) -> None:
    values, rows = np.ones((4, 2), dtype=np.float32), np.arange(4)
    np.savez(training_set.values_of(written, OURS), values=values, rows=rows)
    changed = values.copy()
    changed[3, 1] = 2.0
    np.savez(training_set.values_of(written, "file"), values=changed[::-1], rows=rows[::-1])
    with pytest.raises(FlywheelError, match="1 values are not those"):
        training_set.same(written, "file")


def test_a_row_that_is_left_out_needs_a_reason(written: Settings) -> None:
    values = np.ones((4, 2), dtype=np.float32)
    values[2, 0] = data.DEFAULT
    np.savez(training_set.values_of(written, OURS), values=values, rows=np.arange(4))
    np.savez(training_set.values_of(written, "file"), values=values[[3, 0, 1]], rows=np.array([3, 0, 1]))
    assert training_set.same(written, "file") == {"rows": 3, "values": 6, "left_out": 1}
    np.savez(training_set.values_of(written, "file"), values=values[[2, 0, 1]], rows=np.array([2, 0, 1]))
    with pytest.raises(FlywheelError, match="1 rows twice, or not at all"):
        training_set.same(written, "file")


def test_a_step_in_a_process_of_its_own_tells_its_cost_or_its_fault(written: Settings) -> None:
    cost = alone(written, "join", values=str(training_set.values_of(written, OURS)))
    assert cost.seconds > 0
    assert cost.processor > 0
    assert 0.05 < cost.peak < 5
    with pytest.raises(Unavailable, match="'fly' of flywheel ended: KeyError: 'fly'"):
        alone(written, "fly")


def test_the_recorder_drains_all_that_is_in_the_log(tmp_path: Path) -> None:
    settings, count = settings_in(tmp_path), recorder.MOST_RECORDS + 100
    with redis_alone(settings) as client:
        recorder.fill(client, 0, count, 2)
        assert client.xlen("flywheel:log") == count
        found = recorder.drained(settings, client, count)
        assert client.xlen("flywheel:log") == 0
    assert found.records == 100
    assert found.seconds > 0
    assert recorder.archived(settings) == count


def test_the_bootstraps_parts_end_with_their_last_line() -> None:
    said = [
        ("ad_click has no champion yet.", 2.0),
        ("ingest: a", 3.0),
        ("ingest: b", 4.0),
        ("materialize: a", 6.0),
        ("train: a", 7.0),
        ("train: b", 9.0),
        ("promote: a", 9.5),
        ("ad_click's champion is version 1.", 9.6),
    ]
    parts = first_prediction.parts_of(said, began=1.0, ended=10.0)
    assert parts == pytest.approx({"command": 1.0, "ingest": 2.0, "materialize": 2.0, "train": 3.0, "promote": 1.0})
    with pytest.raises(Unavailable, match="nothing of its part 'train'"):
        first_prediction.parts_of(said[:4], began=1.0, ended=10.0)


def test_targets_that_are_missed_read_no() -> None:
    good = report.training_set_targets(joined(costs(4.0, 4.0, 1.6), costs(8.0, 8.0, 3.0)))
    assert verdicts(good) == ["yes", "yes", "yes", "yes"]
    bad = report.training_set_targets(joined(costs(9.0, 9.0, 2.6), costs(20.0, 20.0, 5.0)))
    assert verdicts(bad) == ["**no**", "**no**", "**no**", "**no**"]
    slow = {"about": about(), "figures": {"drains": {"1": {"1": drains(0.5), "2": drains(1.0)}}}}
    assert verdicts(report.recorder_targets(slow)) == ["**no**", "yes", "yes"]


def test_a_cost_stands_beside_how_many_times_ours_it_is() -> None:
    table = report.training_set(joined(costs(4.0, 4.0, 1.6), costs(8.0, 8.0, 3.0)))
    assert "| 1,000 × 3 | Feast, store `file` (its default) | 8.00 | 8.00 | 2.00 | 2.00× |" in table
    assert "| 2,000 × 3 | Flywheel | 8.00 | 8.00 | 3.00 | 1.00× |" in table


def test_the_readme_shows_the_kept_results() -> None:
    text = README.read_text()
    assert tables.written(text, report.tables(results())) == text, "run `python -m benchmarks.paths --readme`"


def test_kept_results_are_of_a_full_run() -> None:
    for found in results().values():
        assert found is None or found["about"]["plan"] == asdict(Plan())


def test_what_was_never_measured_is_said_with_its_command() -> None:
    shown = report.tables(dict.fromkeys(MEASUREMENTS))
    assert "`python -m benchmarks.paths --only recorder`" in shown["paths-recorder"]
    assert {measurement for measurement, _ in report.TABLES.values()} == set(MEASUREMENTS)


def test_marks_of_other_benchmarks_in_the_same_text_are_left_and_strangers_are_not() -> None:
    text = "<!-- measured: serving-a -->\nas it is\n<!-- end -->\n<!-- measured: paths-a -->\nold\n<!-- end -->\n"
    assert tables.written(text, {"paths-a": "new"}) == text.replace("old", "new")
    for wrong in ({"paths-b": ""}, {"paths-a": "", "paths-b": ""}):
        with pytest.raises(InvalidInput, match="mend the README"):
            tables.written(text, wrong)


def test_figures_are_kept_with_where_they_come_from(tmp_path: Path) -> None:
    assert kept("recorder", tmp_path) is None
    keep(tmp_path, "recorder", about(), {"a": 1 / 3, "b": [2.0, {"c": 1_234_567}]})
    found = kept("recorder", tmp_path)
    assert found == {"about": about(), "figures": {"a": 0.3333, "b": [2.0, {"c": 1_234_567}]}}


def test_a_measurement_that_does_not_exist_is_named() -> None:
    with pytest.raises(Exception, match="no measurement 'sun'"):
        main(only=["sun"])
