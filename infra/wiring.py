"""The only chooser of implementations: settings in, adapters out.

Each function imports its adapter when it is called: a process pays only for the vendors it uses (MLflow and Feast take
seconds to import, and the gateway needs neither).
"""

from typing import TYPE_CHECKING

from contracts.ports import (
    Archive,
    Clock,
    Dispatcher,
    FeatureReader,
    FeatureStore,
    Log,
    LogConsumer,
    Registry,
    Scorer,
)
from infra.clock import CatchUpClock, SystemClock
from infra.settings import Settings

if TYPE_CHECKING:
    from infra.events import EventTable
    from infra.stack import Stack
    from infra.tracking import Tracker


def clock(settings: Settings) -> Clock:
    """Real time, or the clock that a demo started."""
    if settings.clock_origin is None or settings.clock_started is None:
        return SystemClock()
    return CatchUpClock(settings.clock_origin, settings.clock_started, settings.clock_speed)


def feature_reader(settings: Settings) -> FeatureReader:
    from infra.online_features import RedisFeatureReader

    return RedisFeatureReader(settings.redis)


def feature_store(settings: Settings) -> FeatureStore:
    from infra.feature_store import FeastFeatureStore

    return FeastFeatureStore(settings)


def scorer(settings: Settings) -> Scorer:
    from infra.scorer import HttpScorer

    return HttpScorer(settings.serving)


def log(settings: Settings) -> Log:
    from infra.log import RedisLog

    return RedisLog(settings.log_redis)


def log_consumer(settings: Settings, name: str) -> LogConsumer:
    from infra.log_consumer import RedisLogConsumer

    return RedisLogConsumer(settings.log_redis, name)


def archive(settings: Settings) -> Archive:
    from infra.archive import ParquetArchive

    return ParquetArchive(settings.path("log", "predictions").parent)


def events(settings: Settings) -> "EventTable":
    from infra.events import EventTable

    return EventTable(settings.path("events", "source").parent)


def registry(settings: Settings) -> Registry:
    from infra.registry import MlflowRegistry

    return MlflowRegistry(settings.mlflow)


def tracker(settings: Settings) -> "Tracker":
    from infra.tracking import Tracker

    return Tracker(settings.mlflow)


def dispatcher(settings: Settings) -> Dispatcher:
    from infra.dispatcher import PrefectDispatcher

    return PrefectDispatcher(settings.prefect)


def stack(settings: Settings) -> "Stack":
    from infra.stack import Stack

    return Stack(settings)
