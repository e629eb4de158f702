"""`python -m services.recorder`: the recorder as a process of the stack. SIGTERM lets it write what it holds."""

import gc
import logging
import sys

from prometheus_client import disable_created_metrics

from contracts.errors import FlywheelError
from infra import wiring
from infra.breather import Breather
from infra.settings import Settings
from infra.stop_signal import StopSignal
from services.recorder.health import Health, serving
from services.recorder.metrics import Metrics
from services.recorder.recorder import LOGGER, Recorder

NAME = "recorder"  # always the same one: started again, it goes on with what it had taken and not written


def main() -> int:
    """Record until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the vendor's; no second series for each
    stop = StopSignal.of_process()
    try:
        _record(Settings.load(), stop)
    except FlywheelError as error:
        LOGGER.error("%s", error)
        return 1
    return 0


def _record(settings: Settings, stop: StopSignal) -> None:
    health, metrics, breather = Health(), Metrics(), Breather()
    consumer, archive = wiring.log_consumer(settings, NAME, breather), wiring.archive(settings, breather)
    recorder = Recorder(consumer, archive, metrics, health, breather)
    with serving(settings.host, settings.recorder_port, health, metrics) as port:
        gc.freeze()  # what is here now stays: later collections need not walk it
        LOGGER.info("recorder up, its health on http://%s:%d/healthz", settings.host, port)
        recorder.run(stop)
        LOGGER.info("recorder stopped")


if __name__ == "__main__":
    sys.exit(main())
