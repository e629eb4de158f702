"""The usual stack, as the vendors' own guides put it together: BentoML's typed API, Feast's SDK, scikit-learn.

`bentoml serve benchmarks.serving.usual:Ranking`. It reads the same Redis by the same definitions as Flywheel, and
leaves every setting of BentoML, Feast and scikit-learn at its default. It checks no key and no freshness, and logs
nothing.
"""

from typing import Any

import bentoml
import feast
import joblib  # type: ignore[import-untyped]  # it ships no types
import numpy as np
from pydantic import BaseModel

from benchmarks.serving.ranking import ESTIMATOR, STORE, SYSTEM, TOP, kept
from infra.settings import Settings

NAMES = SYSTEM.features.names
FEATURES = [f"{SYSTEM.name}__{view.name}:{feature.name}" for view in SYSTEM.features.views for feature in view.features]


class Ranked(BaseModel):
    """The best candidates, best first."""

    item_ids: list[str]
    scores: list[float]


@bentoml.service
class Ranking:
    """One endpoint, `/predict`."""

    def __init__(self) -> None:
        settings = Settings.load()
        self.store: Any = feast.FeatureStore(fs_yaml_file=kept(settings, STORE))
        self.model: Any = joblib.load(kept(settings, ESTIMATOR))

    @bentoml.api  # type: ignore[untyped-decorator]  # BentoML ships no types
    def predict(self, user_id: str, item_ids: list[str]) -> Ranked:
        """The ten likeliest of the candidates."""
        entities = [{"user_id": user_id, "item_id": item} for item in item_ids]
        found = self.store.get_online_features(features=FEATURES, entity_rows=entities).to_dict()
        matrix = np.column_stack([found[name] for name in NAMES]).astype(np.float32)
        scores = self.model.predict_proba(matrix)[:, 1]
        best = np.argsort(-scores, kind="stable")[:TOP]
        return Ranked(item_ids=[item_ids[row] for row in best], scores=scores[best].tolist())
