"""Real ad impressions all the way: ingested, trained on, served and scored over HTTP, beside the run's own baselines.

The clock stands at the log's own day, as it would for whoever replays a log of theirs.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

import systems
from infra import wiring
from infra.settings import Settings
from services.client.gateway import GatewayClient
from tests.conftest import settings_in
from tests.loop.conftest import run_deployment
from tests.loop.test_avazu import DATA, MAPPING, events, take

AD_CLICK = systems.load("ad_click")
MIDDAY = datetime(2014, 10, 21, 12, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="../shared/data/avazu-sample is not beside the checkout")


@pytest.mark.timeout(300)
def test_a_model_of_real_clicks_is_served_over_http(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_in(tmp_path / "state")
    wiring.start_clock(settings, MIDDAY, 1.0)
    elsewhere = settings_in(tmp_path / "elsewhere")
    take(elsewhere, DATA / "test.csv")
    tested = events(elsewhere)
    with wiring.stack(settings):
        run_deployment(settings, "ingest", system="ad_click", file=str(DATA / "train.csv"), mapping=str(MAPPING))
        run_deployment(settings, "materialize", system="ad_click")
        run_deployment(settings, "train", system="ad_click", data="history")
        run_deployment(settings, "promote", system="ad_click")
        registry = wiring.registry(settings)
        champion = registry.resolve("ad_click", "champion")
        assert champion is not None, registry.versions("ad_click")[-1].tags.get("gate_reasons")
        scores, versions = asyncio.run(served(settings, tested))
    assert versions == {champion.version}
    labels = tested["clicked"].to_numpy()
    entropy = log_loss(labels, np.full(len(labels), labels.mean()))
    normalised, area = log_loss(labels, scores) / entropy, roc_auc_score(labels, scores)
    with capsys.disabled():
        print(f"\nAvazu over HTTP: ROC-AUC {area:.3f}, normalised cross-entropy {normalised:.3f}, {len(labels)} rows")
    assert normalised < 0.97
    assert area > 0.65


async def served(settings: Settings, rows: pd.DataFrame) -> tuple[np.ndarray, set[str]]:  # type: ignore[type-arg]
    """The probability that the gateway answers for each row, sent as a request with one candidate."""
    scores, versions = [], set()
    async with GatewayClient(settings.gateway, settings.secret("api_key")) as client:
        for row in rows.to_dict("records"):
            ad = {name: row[name] for name in ("ad_id", "campaign_id", "advertiser_id", "category", "bid")}
            request = {"user_id": row["user_id"], "device": row["device"], "placement": row["placement"], "ads": [ad]}
            answer = await client.predict("ad_click", request)
            while answer["variant"] != "champion":  # serving swaps within seconds of the alias moving
                await asyncio.sleep(0.2)
                answer = await client.predict("ad_click", request)
            versions.add(answer["model_version"])
            scores.append(answer["result"]["ads"][0]["probability"])
    return np.array(scores), versions
