"""The `parity` flow: were features served as they are recomputed? What differs is a fault to mend and no drift: it asks
for no retraining, for a model that learned from wrong values would be served right ones after the mend.

It is a flow of its own, beside `monitor`: it needs the feature store, which may be down or young while quality can be
judged. Prefect is allowed here as in `flow.py`.
"""

from prefect import flow, get_run_logger

import systems
from infra import wiring
from infra.settings import Settings
from monitoring.parity_window import latest


@flow(name="parity", flow_run_name="parity-{system}")
def parity(system: str) -> None:
    """Compare a sample of the features that were served in the latest window with the same recomputed."""
    settings, say = Settings.load(), get_run_logger().info
    found = latest(settings, systems.load(system), wiring.clock(settings).now())
    wiring.findings(settings).keep(found)
    say(found.words)
    for column in found.differing:
        say(f"{column.name}: {column.words}.")
