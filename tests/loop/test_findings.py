"""What is measured beside the verdict, with all processes: from answers and outcomes to findings and to Prometheus."""

from datetime import timedelta

import httpx

from contracts.findings import OnlineFigures, ParityFinding
from infra import wiring
from tests.conftest import poll
from tests.loop.conftest import Living, settle


def test_what_was_served_is_measured_recomputed_and_shown_to_prometheus(living: Living) -> None:
    findings, name, begun = wiring.findings(living.settings), living.system.name, living.clock.now()
    matured = begun + living.system.requirements.label_delay + timedelta(hours=1)
    with living.simulation(rate=40) as clients:
        settle(clients, 200)
        poll(lambda: living.clock.now() > matured, 60.0, "labels that have matured")
        living.run("parity")
        living.run("metrics")
    served, earned = findings.read(ParityFinding, name), findings.read(OnlineFigures, name)
    assert served is not None
    assert served.rows > 0
    assert (served.features, served.differing) == (len(living.system.features.names), ()), served.words
    assert earned is not None
    whole = [each for each in earned.figures if not each.slice]
    assert living.champion().version in {each.version for each in whole}
    assert {each.metric for each in whole} == {metric.name for metric in living.system.requirements.online_metrics}
    assert len(earned.agreement) == len(living.system.requirements.online_metrics)
    shown = f"http://{living.settings.host}:{living.settings.runner_port}/metrics"
    sample = f'flywheel_parity_differing_features{{system="{name}"}} 0.0'
    poll(lambda: sample in httpx.get(shown).text, 20.0, f"{sample} at {shown}")
