"""`python -m services.gateway`: the gateway as a process of the stack. SIGTERM lets requests in flight finish."""

import gc
import logging

import uvicorn
from prometheus_client import disable_created_metrics

from infra import wiring
from infra.settings import Settings
from services.gateway.app import Limits, build
from services.gateway.catalogue import Catalogue
from services.gateway.door import Door
from services.gateway.stages import Platform

YOUNG = 20_000  # objects between two looks for garbage: a request for 500 candidates makes thousands, and no cycles
GRACE = 5  # seconds in which requests in flight may finish after SIGTERM; none takes longer than its deadline
KEEP_ALIVE = 75  # seconds; longer than clients keep a connection, so that none is closed under a request


def main() -> None:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # A second series for each counter, which nobody reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client gives it no types
    settings = Settings.load()
    server = uvicorn.Server(_config(settings))
    # What was made until here stays: full collections need not look at it again, and they stall every request.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
    logging.getLogger("flywheel.gateway").info("gateway on %s, its documentation on /docs", settings.gateway)
    server.run()


def _config(settings: Settings) -> uvicorn.Config:
    platform = Platform(
        reader=wiring.feature_reader(settings),
        scorer=wiring.scorer(settings),
        log=wiring.log(settings),
        clock=wiring.clock(settings),
    )
    limits = Limits(key=settings.secret("api_key"), rate=settings.rate_limit, body=settings.body_limit)
    gateway = build(platform, Catalogue.load(), limits)
    return uvicorn.Config(
        gateway.app,
        host=settings.host,
        port=settings.gateway_port,
        loop="uvloop",
        http=Door.of(gateway.guard, platform.metrics),  # type: ignore[arg-type]  # it is only called
        ws="none",  # nothing here speaks WebSocket, and uvicorn would hold such a connection open
        access_log=False,
        log_level="warning",
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nothing here asks who the client is
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )


if __name__ == "__main__":
    main()
