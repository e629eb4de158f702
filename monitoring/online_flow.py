"""The `metrics` flow: what each version of a system earned, measured from the log and kept for who asks.

It is a flow of its own, beside `monitor`: it reads a week and not a window, decides nothing, and when it fails no
verdict is late. Prefect is allowed here as in `flow.py`.
"""

from prefect import flow, get_run_logger

import systems
from infra import wiring
from infra.settings import Settings
from monitoring.online_window import figures, in_words


@flow(name="metrics", flow_run_name="metrics-{system}")
def metrics(system: str) -> None:
    """Measure a system's online metrics by version and slice."""
    settings, say = Settings.load(), get_run_logger().info
    chosen, versions = systems.load(system), wiring.model_source(settings).versions(system)
    found = figures(chosen, wiring.archive(settings), versions, wiring.clock(settings).now())
    wiring.findings(settings).keep(found)
    for sentence in in_words(found):
        say(sentence)
