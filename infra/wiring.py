"""The only chooser of implementations: settings in, adapters out.

Each function imports its adapter when it is called: a process pays only for the vendors it uses (MLflow and Feast take
seconds to import, and the gateway needs neither).
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from contracts.ports import (
    Archive,
    Catalogue,
    Clock,
    Dispatcher,
    FeatureReader,
    FeatureStore,
    Log,
    LogConsumer,
    ModelSource,
    Registry,
    Scorer,
)
from contracts.system import System
from infra.clock import CLOCK_FILE, SharedClock, read_clock, write_clock
from infra.settings import Settings

if TYPE_CHECKING:
    from infra.breather import Breather
    from infra.events import EventTable
    from infra.findings import FindingFiles
    from infra.live_features import LiveFeatures
    from infra.model_cache import ModelCache
    from infra.retrainings import Retrainings
    from infra.stack import Stack
    from infra.tracking import Tracker
    from infra.verdicts import VerdictFile


def clock(settings: Settings) -> Clock:
    """The clock of this state folder: real time, unless `start_clock` set it going in the past."""
    return read_clock(settings.path("clock", CLOCK_FILE))


def start_clock(settings: Settings, origin: datetime, speed: float) -> SharedClock:
    """Set this state folder's clock to `origin`, to run `speed` times as fast until it has caught up."""
    return write_clock(settings.path("clock", CLOCK_FILE), origin, speed)


def feature_reader(settings: Settings) -> FeatureReader:
    """For callers that bound each call, as of the two below."""
    from infra.online_features import RedisFeatureReader

    return RedisFeatureReader(settings.redis, timeout=None)


def feature_store(settings: Settings) -> FeatureStore:
    from infra.feature_store import FeastFeatureStore

    return FeastFeatureStore(settings)


def live_features(settings: Settings) -> "LiveFeatures":
    from infra.live_features import LiveFeatures

    return LiveFeatures(settings.redis)


def feature_definitions(settings: Settings, system: System) -> list[Any]:
    """A system's views as Feast objects, for Feast's own CLI."""
    from infra.feature_store import definitions

    return definitions(settings, system)


def scorer(settings: Settings) -> Scorer:
    from infra.scorer import HttpScorer

    return HttpScorer(settings.serving, timeout=None)


def log(settings: Settings) -> Log:
    from infra.log import RedisLog

    return RedisLog(settings.log_redis, timeout=None)


def catalogue(settings: Settings) -> Catalogue:
    from infra.catalogue import RedisCatalogue

    return RedisCatalogue(settings.log_redis)


def log_consumer(settings: Settings, name: str, breather: "Breather | None" = None) -> LogConsumer:
    from infra.log_consumer import RedisLogConsumer

    return RedisLogConsumer(settings.log_redis, name, breather=breather)


def archive(settings: Settings, breather: "Breather | None" = None) -> Archive:
    from infra.archive import ParquetArchive

    return ParquetArchive(settings.path("log", "predictions").parent, breather)


def events(settings: Settings) -> "EventTable":
    from infra.events import EventTable

    return EventTable(settings.path("events", "source").parent)


def registry(settings: Settings) -> Registry:
    from infra.registry import MlflowRegistry

    return MlflowRegistry(settings.mlflow)


def model_source(settings: Settings) -> ModelSource:
    from infra.registry_rest import RestModelSource

    return RestModelSource(settings.mlflow)


def model_cache(settings: Settings) -> "ModelCache":
    from infra.model_cache import ModelCache

    return ModelCache(settings.path("models", "system").parent)


def tracker(settings: Settings) -> "Tracker":
    from infra.tracking import Tracker

    return Tracker(settings.mlflow)


def verdicts(settings: Settings) -> "VerdictFile":
    from infra.verdicts import VerdictFile

    return VerdictFile(settings.path("verdicts", "system").parent)


def findings(settings: Settings) -> "FindingFiles":
    from infra.findings import FindingFiles

    return FindingFiles(settings.state_dir / "verdicts" / "findings")  # made by who writes; the console may only read


def retrainings(settings: Settings) -> "Retrainings":
    from infra.retrainings import Retrainings

    return Retrainings(settings.state_dir / "verdicts" / "retrainings")  # made by who writes


def dispatcher(settings: Settings) -> Dispatcher:
    from infra.dispatcher import PrefectDispatcher

    return PrefectDispatcher(settings.prefect)


def stack(settings: Settings) -> "Stack":
    from infra.stack import Stack

    return Stack(settings)
