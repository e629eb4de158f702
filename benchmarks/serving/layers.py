"""What each layer of Flywheel's path takes of a request, by the gateway's own stage metrics and the model alone.

Measured with one request at a time, so that no layer's figure holds a wait for another request.
"""

from collections.abc import Mapping
from itertools import islice
from time import perf_counter

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.serving import data
from benchmarks.serving.ranking import CHAMPION, SYSTEM, kept
from infra.settings import Settings
from services.serving.onnx_model import open_model

METRIC = "flywheel_gateway_seconds"
WHOLE, FEATURES, SCORE, LOG = "predictions", "features", "score", "log"
TRIES = 300

Stages = Mapping[tuple[str, str], float]  # by sum or count, and stage


def stages(settings: Settings) -> Stages:
    """What the gateway has counted so far: seconds and calls of each stage."""
    text = httpx.get(f"{settings.gateway}/metrics", timeout=10).raise_for_status().text
    samples = [
        sample
        for family in text_string_to_metric_families(text)
        if family.name == METRIC
        for sample in family.samples
        if sample.labels.get("system") == SYSTEM.name
    ]
    kinds = {f"{METRIC}_sum": "sum", f"{METRIC}_count": "count"}
    return {(kinds[one.name], one.labels["stage"]): one.value for one in samples if one.name in kinds}


def layers(before: Stages, after: Stages, model: float) -> dict[str, float]:
    """Milliseconds a request in each layer, on average, from two looks and the model's own."""
    spent = {
        stage: 1000
        * (after["sum", stage] - before.get(("sum", stage), 0.0))
        / (after["count", stage] - before.get(("count", stage), 0.0))
        for stage in (WHOLE, FEATURES, SCORE, LOG)
    }
    return {
        "gateway": spent[WHOLE] - spent[FEATURES] - spent[SCORE] - spent[LOG],
        "features": spent[FEATURES],
        "transport": spent[SCORE] - model,
        "model": model,
        "log": spent[LOG],
        "whole": spent[WHOLE],
    }


def model_alone(settings: Settings, rows: int) -> float:
    """Milliseconds that serving's session takes for so many rows: the median of many requests, no two of which are the
    same, for a processor learns the way of rows that come again through the trees."""
    model = open_model(kept(settings, CHAMPION).read_bytes(), len(SYSTEM.features.names))
    taken = []
    for X in islice(data.requested(rows, np.random.default_rng(rows)), TRIES):
        began = perf_counter()
        model.scores(X)
        taken.append(perf_counter() - began)
    return float(np.median(taken)) * 1000
