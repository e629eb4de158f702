"""Real ad impressions, of Avazu's public log: ingested by the mapping that comes with ad_click.

The data may not be passed on: the tests find it beside the checkout, or skip.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

import systems
from contracts.system import Estimator, Floats, Matrix
from infra import wiring
from infra.settings import ROOT, Settings
from pipelines import ingest

DATA = ROOT.parent / "shared" / "data" / "avazu-sample"
MAPPING = ROOT / "systems" / "ad_click" / "mappings" / "avazu.toml"
AD_CLICK = systems.load("ad_click")
HOUR = datetime(2014, 10, 21, 0, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="../shared/data/avazu-sample is not beside the checkout")


def silent(line: str) -> None:
    """Nobody listens."""


def take(settings: Settings, file: Path) -> ingest.Report:
    return ingest.run(settings, AD_CLICK, ingest.UserFile(file, MAPPING), silent)


def events(settings: Settings) -> pd.DataFrame:
    return wiring.events(settings).read(AD_CLICK, HOUR, datetime(2014, 10, 22, tzinfo=UTC))


def test_the_log_is_ingested_once(settings: Settings) -> None:
    first = take(settings, DATA / "train.csv")
    assert (first.read, first.appended, first.rejected) == (8_087, 8_087, {})
    again = take(settings, DATA / "train.csv")
    assert (again.appended, again.already_there) == (0, 8_087)
    found = events(settings)
    assert set(found["at"]) == {HOUR.timestamp()}
    assert found["clicked"].mean() == pytest.approx(0.1727, abs=1e-4)
    assert set(found["device"]) == {"mobile", "tablet", "desktop"}
    assert (found[["ad_id", "campaign_id", "advertiser_id"]].nunique() > 20).all()


def test_a_part_without_a_header_line_is_ingested_as_well(settings: Settings) -> None:
    report = take(settings, DATA / "test.csv")
    assert (report.appended, report.rejected) == (432, {})


def test_spoilt_rows_are_set_aside(settings: Settings, tmp_path: Path) -> None:
    lines = (DATA / "train.csv").read_text().splitlines()
    lines[10] = lines[10].replace("14102100", "14132100")
    lines[20] = lines[20].rpartition(",")[0]
    lines[30] = lines[29]
    spoilt = tmp_path / "spoilt.csv"
    spoilt.write_text("\n".join(lines))
    report = take(settings, spoilt)
    assert report.rejected == {
        "timestamp cannot be read as %y%m%d%H": 1,
        "wrong number of fields": 1,
        "duplicate id within the file": 1,
    }
    assert report.reject_file is not None
    rejects = pd.read_csv(report.reject_file)
    assert rejects["line"].tolist() == [11, 21, 31]
    assert rejects["raw"].tolist() == [lines[10], lines[20], lines[30]]


def test_clicks_can_be_told_from_what_the_request_says_alone(settings: Settings, tmp_path: Path) -> None:
    """One hour has no history, so every view stands at its default; the model still beats its baselines."""
    take(settings, DATA / "train.csv")
    trained = events(settings)
    elsewhere = settings.model_copy(update={"state_dir": tmp_path / "elsewhere"})
    take(elsewhere, DATA / "test.csv")
    tested = events(elsewhere)
    y = tested["clicked"].to_numpy()
    scores = {
        name: score(build(0), trained, tested)
        for name, build in {**AD_CLICK.training.baselines, "model": AD_CLICK.model.build}.items()
    }
    normalised = {name: log_loss(y, found) / log_loss(y, np.full(len(y), y.mean())) for name, found in scores.items()}
    assert normalised["model"] < normalised["logistic_regression"] < normalised["base_rate"]
    assert normalised["model"] < 0.93
    assert roc_auc_score(y, scores["model"]) > 0.70


def score(estimator: Estimator, trained: pd.DataFrame, tested: pd.DataFrame) -> Floats:
    estimator.fit(inputs(trained), trained["clicked"].to_numpy())
    return np.asarray(estimator.predict_proba(inputs(tested))[:, 1], dtype=np.float64)


def inputs(rows: pd.DataFrame) -> Matrix:
    features = AD_CLICK.features
    defaults = [np.full(len(rows), one.default) for view in features.views for one in view.features]
    computed = features.on_request({name: rows[name].to_numpy() for name in rows})
    return np.column_stack([*defaults, *(computed[name] for name in features.request_features)]).astype(np.float32)
