"""The measured system as the benchmark and the comparators hold it: what `systems.load` makes of its folder."""

from pathlib import Path

from benchmarks.serving.systems.ranking.features import FEATURES
from benchmarks.serving.systems.ranking.model import MODEL
from benchmarks.serving.systems.ranking.monitoring import MONITORING
from benchmarks.serving.systems.ranking.requirements import REQUIREMENTS
from benchmarks.serving.systems.ranking.serving import SERVING, TOP
from benchmarks.serving.systems.ranking.task import TASK
from benchmarks.serving.systems.ranking.training import TRAINING
from benchmarks.serving.systems.ranking.world import WORLD
from contracts.system import System
from infra.settings import Settings

__all__ = ["CHAMPION", "ESTIMATOR", "STORE", "SYSTEM", "SYSTEMS", "TOP", "kept"]

SYSTEMS = Path(__file__).with_name("systems")
SYSTEM = System(
    name="ranking",
    requirements=REQUIREMENTS,
    task=TASK,
    features=FEATURES,
    model=MODEL,
    training=TRAINING,
    serving=SERVING,
    monitoring=MONITORING,
    world=WORLD,
)
ESTIMATOR, CHAMPION = "model.joblib", "model.onnx"  # the same trees, for scikit-learn and for ONNX Runtime
STORE = "feature_store.yaml"  # of plain Feast, over the same registry and the same Redis


def kept(settings: Settings, name: str) -> Path:
    """A file of the benchmark's own in the state folder."""
    return settings.path("benchmark", name)
