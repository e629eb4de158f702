"""Model Serving: BentoML answers with the scores of each system's champion.

`bentoml serve services.serving.service:Serving --host … --port …`. BentoML imports this file in two processes, the one
that minds the workers and the worker: only the worker builds `Serving`, so only there are the models' parts imported.
"""

import gc
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import bentoml
import bentoml.exceptions
from pydantic import BaseModel

from contracts.errors import FlywheelError
from services.serving import family
from services.serving.app import application, status
from services.serving.border import Border

if TYPE_CHECKING:
    from services.serving.champions import Champions


class Bordered(bentoml.Service[Any]):  # type: ignore[misc]  # BentoML ships no types
    """A service with the border around all that BentoML makes of it, its metrics, tracing, timeout and context too."""

    def to_asgi(self, is_main: bool = True) -> Border:
        return Border(super().to_asgi(is_main))


class Scores(BaseModel):
    """P(label = 1) for each row, and the version that gave all of them."""

    scores: list[float]
    model_version: str


@bentoml.service(
    service_class=Bordered,
    workers=1,  # one thread scores 100 rows in well under a millisecond; the second core is the gateway's
    # BentoML keeps a timer, and all that a request touched, for this long after each: 60 s, its default, is 466 MB
    # after 33,000 requests and garbage collections of half a second.
    traffic={"timeout": 1},
    logging={"access": {"enabled": False}},  # the gateway counts and logs; a line a request costs more than the model
    metrics={"enabled": True, "namespace": "bentoml_service"},
)
@bentoml.asgi_app(application, path="/v1")
class Serving:
    """The champions. `POST /score` is for people, `/v1` for the gateway; `/metrics`, `/readyz` and `/` as BentoML's."""

    def __init__(self) -> None:
        self.champions = _champions()
        application.state.champions = self.champions
        self.champions.recover()
        threading.Thread(target=self.champions.run, name="champions", daemon=True).start()
        threading.Thread(target=self.champions.run_catalogue, name="catalogue", daemon=True).start()
        family.end_with_parent()
        gc.collect()
        gc.freeze()  # what is here now stays: later collections need not walk it

    @bentoml.api  # type: ignore[untyped-decorator]  # BentoML ships no types
    async def score(self, system: str, features: list[list[float]]) -> Scores:
        """Scores of `features`, rows in the order of the system's feature names, by its champion."""
        import numpy as np

        try:
            scored = self.champions.score(system, np.array(features, dtype=np.float32, ndmin=2))
        except (FlywheelError, ValueError) as error:
            raise _as_bentoml(error) from error
        return Scores(scores=scored.scores.tolist(), model_version=scored.model_version)

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # as above
    @staticmethod
    def before_the_worker() -> None:
        """Called by BentoML in the process that minds the worker."""
        family.end_with_worker()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # as above
    def stop(self) -> None:
        self.champions.stop()


def _champions() -> "Champions":
    import systems
    from infra import wiring
    from infra.settings import Settings
    from services.serving.champions import Champions
    from services.serving.metrics import ServingMetrics
    from services.serving.stage_one import StageOnes

    settings, metrics = Settings.load(), ServingMetrics()
    source, cache = wiring.model_source(settings), wiring.model_cache(settings)
    stage_ones = StageOnes(systems.load, lru_cache(lambda: wiring.catalogue(settings)), metrics)
    return Champions(source, cache, wiring.clock(settings), metrics, systems.names, stage_ones)


def _as_bentoml(error: FlywheelError | ValueError) -> bentoml.exceptions.BentoMLException:
    """In BentoML's words; it hides what is said with a status of 500 and above."""
    if isinstance(error, ValueError):
        return bentoml.exceptions.InvalidArgument(f"The features are not rows of equal length: {error}.")
    if status(error) == 404:
        return bentoml.exceptions.NotFound(str(error))
    if status(error) == 422:
        return bentoml.exceptions.InvalidArgument(str(error))
    return bentoml.exceptions.ServiceUnavailable(str(error))
