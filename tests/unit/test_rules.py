"""Events without labels: taken in where a system has rules, labelled by them until true labels suffice, and said so."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import systems
from contracts.errors import InvalidInput
from contracts.system import AT, Columns, Floats, System
from infra.events import EventTable
from pipelines import ingest, mapping, model_card
from pipelines.event_file import open_event_file
from pipelines.mapping import Mapping
from pipelines.rules import completed
from pipelines.training_rows import assemble, checked, split

AD_CLICK = systems.load("ad_click")
NOW = datetime(2025, 3, 2, tzinfo=UTC)
HEADER = "id,t,user,ad,bid,click\n"
ROW = "{},2025-03-01T10:00:00,u1,a1,{},{}\n"
COLUMNS = {"user_id": "user", "ad_id": "ad", "bid": "bid"}


def dear_ads_are_clicked(columns: Columns) -> Floats:
    """1 for a high bid, 0 for a low one, and nothing for what lies between."""
    bid = np.asarray(columns["bid"], dtype=np.float64)
    return np.where(bid > 2, 1.0, np.where(bid < 1, 0.0, np.nan))


RULED: System = replace(AD_CLICK, training=replace(AD_CLICK.training, rules=dear_ads_are_clicked))


def taken(system: System, folder: Path, rows: str, **columns: str) -> tuple[ingest.Report, pd.DataFrame]:
    path, table = folder / "log.csv", EventTable(folder / "events")
    path.write_text(HEADER + rows)
    given = Mapping.model_validate({"id": "id", "time": {"column": "t"}, "columns": {**COLUMNS, **columns}})
    mapping.check(given, system)
    report = ingest.from_file(system, open_event_file(path, given), table, folder / "rejects", NOW, lambda line: None)
    return report, table.read(system, datetime(2025, 1, 1, tzinfo=UTC), NOW)


def test_a_file_without_labels_is_taken_in_where_there_are_rules(tmp_path: Path) -> None:
    report, events = taken(RULED, tmp_path, ROW.format(1, 1.5, "") + ROW.format(2, 1.5, ""))
    assert (report.appended, report.rejected) == (2, {})
    assert events["clicked"].isna().all()


def test_some_labels_may_be_lacking_and_those_that_are_there_must_be_labels(tmp_path: Path) -> None:
    rows = "".join(ROW.format(number, 1.5, label) for number, label in enumerate(("1", "", "0", "2", "nan", "yes")))
    report, events = taken(RULED, tmp_path, rows, clicked="click")
    assert report.rejected == {"clicked is not 0 or 1": 3}
    assert np.array_equal(events["clicked"], [1.0, np.nan, 0.0], equal_nan=True)


def test_without_rules_a_file_must_bring_its_labels(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not give clicked"):
        taken(AD_CLICK, tmp_path, ROW.format(1, 1.5, ""))


def history(labels: list[float], bids: list[float]) -> pd.DataFrame:
    count = len(labels)
    random = np.random.default_rng(0)
    rows = {n: ["x"] * count if k == "string" else [1.0] * count for n, k in RULED.features.source.columns.items()}
    features = {name: random.random(count) for name in RULED.features.names}
    return pd.DataFrame({**rows, **features, AT: 1e9 + np.arange(count), "clicked": labels, "bid": bids})


NONE = float("nan")


def test_with_too_few_labels_the_rules_give_the_others_and_never_change_one() -> None:
    frame, labels = completed(RULED, history([0.0, NONE, NONE, NONE, 1.0], [3.0, 3.0, 0.5, 1.5, 0.5]), enough=3)
    assert labels == "rules"
    assert frame["clicked"].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert frame["bid"].tolist() == [3.0, 3.0, 0.5, 0.5], "of the one in between the rules say nothing"


def test_with_enough_labels_the_rules_are_not_asked() -> None:
    frame, labels = completed(RULED, history([0.0, NONE, 1.0], [3.0, 3.0, 0.5]), enough=2)
    assert labels == "outcomes"
    assert frame["clicked"].tolist() == [0.0, 1.0]


def test_a_history_of_labels_alone_is_left_as_it_is() -> None:
    frame, labels = completed(RULED, history([0.0, 1.0], [3.0, 0.5]), enough=100)
    assert (frame["clicked"].tolist(), labels) == ([0.0, 1.0], "outcomes")


def test_rules_see_row_columns_time_and_features_and_not_the_label() -> None:
    seen: list[set[str]] = []

    def nosy(columns: Columns) -> Floats:
        seen.append(set(columns))
        return np.zeros(len(columns[AT]))

    nosy_system = replace(RULED, training=replace(RULED.training, rules=nosy))
    completed(nosy_system, history([NONE], [1.0]), enough=1)
    assert seen[0] >= {AT, "bid", *RULED.features.names}
    assert "clicked" not in seen[0]


def test_rules_that_answer_for_other_rows_are_refused() -> None:
    broken = replace(RULED, training=replace(RULED.training, rules=lambda columns: np.zeros(7)))
    with pytest.raises(InvalidInput, match=r"gave \(7,\) labels for 1 rows"):
        completed(broken, history([NONE], [1.0]), enough=1)


def test_the_model_card_says_when_labels_are_the_rules() -> None:
    labels, bids = [NONE] * 40, [0.5, 3.0] * 20
    frame, said = completed(RULED, history(labels, bids), enough=10)
    rows = checked(RULED, replace(assemble(RULED, frame, "history"), labels=said))
    older, newest = split(rows, 0.25)
    for each, expected in ((said, True), ("outcomes", False)):
        card = model_card.write(RULED, replace(older, labels=each), newest, {}, {}, {"labels": each})
        assert ("Labels: rules." in card) is expected
        assert f"- labels: `{each}`" in card
