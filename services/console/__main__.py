"""`python -m services.console`: the console as a process of the stack."""

import logging

import uvicorn

from infra import wiring
from infra.settings import Settings
from services.console.app import Parts, build
from services.console.gateway import Gateway
from services.console.serving import Serving
from services.console.session import Sessions

GRACE = 5  # seconds in which a page in the making may be finished after SIGTERM


def main() -> None:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request, and pages ask all the time
    settings = Settings.load()
    key = settings.secret("api_key")
    parts = Parts(settings, Gateway(settings.gateway, key), Serving(settings.serving), wiring.clock(settings))
    logging.getLogger("flywheel.console").info("console on http://%s:%d", settings.host, settings.console_port)
    uvicorn.run(
        build(parts, Sessions(key)),
        host=settings.host,
        port=settings.console_port,
        access_log=False,  # addresses may hold links
        log_level="warning",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )


if __name__ == "__main__":
    main()
