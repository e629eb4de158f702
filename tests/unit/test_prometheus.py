"""What Prometheus is told to ask and to say: real names, real targets, and rules that promtool has tried."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from infra.probe import Probe
from infra.settings import ROOT, Settings
from pipelines.runner_metrics import RunnerMetrics
from pipelines.verdict_metrics import VerdictMetrics
from services.gateway.metrics import Metrics as GatewayMetrics
from services.recorder.metrics import Metrics as RecorderMetrics
from services.serving.metrics import ServingMetrics
from tests.conftest import settings_in

FOLDER = ROOT / "infra" / "prometheus"
CASES = ROOT / "tests" / "unit" / "prometheus"
IMAGE = "prom/prometheus:v3.0.0"
README = (FOLDER / "README.md").read_text()

RULES = [
    rule
    for path in sorted((FOLDER / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in RULES if "record" in rule}
CONFIG = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
TARGETS = {job["job_name"]: job["static_configs"][0]["targets"][0] for job in CONFIG["scrape_configs"]}


def exported() -> Iterator[Any]:
    """All metric families that our processes show to Prometheus."""
    serving = CollectorRegistry()
    ServingMetrics(serving)
    for registry in (GatewayMetrics().registry, RecorderMetrics().registry, serving, RunnerMetrics().registry):
        yield from registry.collect()
    yield from Probe([]).collect()
    with TemporaryDirectory() as folder:
        yield from VerdictMetrics(settings_in(Path(folder)), names=lambda: ()).collect()


def series_of(family: Any) -> list[str]:
    """The names under which Prometheus stores a family."""
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}
    return [family.name + ending for ending in endings[family.type]]


def names_in(expression: str) -> set[str]:
    """The series that an expression reads: what is left without labels, ranges, texts, functions and keywords."""
    for noise in (r'"[^"]*"', r"\{[^}]*\}", r"\[[^\]]*\]", r"\b(by|on|group_left|without|ignoring)\s*\([^)]*\)"):
        expression = re.sub(noise, " ", expression)
    words = re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?![\w:]|\s*\()", expression)
    return set(words) - {"and", "or", "unless", "bool", "offset"}


def test_names_are_read_out_of_an_expression() -> None:
    expression = (
        'sum by (system) (rate(requests_total{status=~"5..", system!=""}[1m])) / (a:b:c > 0) and on () up == 1e3'
    )
    assert names_in(expression) == {"requests_total", "a:b:c", "up"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or rule["alert"])
def test_every_name_in_a_rule_is_exported_or_recorded(rule: dict[str, Any]) -> None:
    known = {name for family in exported() for name in series_of(family)} | RECORDED.keys() | {"up"}
    assert names_in(rule["expr"])
    assert not names_in(rule["expr"]) - known


def test_every_metric_is_explained_in_a_readme() -> None:
    folders = ("services/gateway", "services/recorder", "services/serving", "pipelines", "infra/prometheus")
    told = "\n".join((ROOT / folder / "README.md").read_text() for folder in folders)
    names = [family.name + "_total" * (family.type == "counter") for family in exported()]
    assert len(names) > 25
    assert not [name for name in names if not re.search(rf"^\| `{name}[`{{]", told, re.MULTILINE)]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_how_badly_and_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["for"]
    for text in (alert["annotations"]["summary"], alert["annotations"]["runbook"]):
        assert text.endswith(".")
        assert len(text.split()) >= 4


def test_every_rule_is_in_the_readme_with_its_severity() -> None:
    rows = dict(re.findall(r"^\| (`[A-Z].*?`) \| (\w+) \|", README, re.MULTILINE))
    severities = {name: severity for names, severity in rows.items() for name in re.findall(r"`(\w+)`", names)}
    assert severities == {name: alert["labels"]["severity"] for name, alert in ALERTS.items()}
    assert not [name for name in RECORDED if name not in README and name.rpartition(":")[2] not in README]


def test_every_alert_is_tried_firing() -> None:
    cases = (CASES / "rules_test.yml").read_text()
    assert not [name for name in ALERTS if not re.search(rf'alertname(=|: )"?{name}\b', cases)]


def test_no_system_and_no_target_of_a_system_stands_in_a_rule() -> None:
    rules = "".join(rule["expr"] for rule in RULES)
    assert not re.search(r'system="[a-z]', rules)


def test_targets_are_at_the_ports_of_the_settings() -> None:
    fields = Settings.model_fields
    ports = {
        "gateway": fields["gateway_port"].default,
        "serving": fields["serving_port"].default,
        "recorder": fields["recorder_port"].default,
        "worker": fields["runner_port"].default,
        "probe": fields["probe_port"].default,
        "prefect": fields["prefect_port"].default,
    }
    assert {name: f"{name}:{port}" for name, port in ports.items()} | {"prometheus": "localhost:9090"} == TARGETS


def test_targets_are_services_of_the_stack_on_a_network_of_prometheus() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    mine = set(services["prometheus"]["networks"]) - {"consoles"}  # whose members cannot talk to each other
    assert not [name for name in TARGETS if name != "prometheus" and not mine & set(services[name]["networks"])]


@cache
def promtool() -> tuple[str, ...]:
    """How promtool is run, from the root of a tree that has infra/prometheus and tests/unit/prometheus."""
    if found := shutil.which("promtool"):
        return (found,)
    if not (docker := shutil.which("docker")):
        pytest.skip("neither promtool nor docker is on the PATH")
    if subprocess.run([docker, "image", "inspect", IMAGE], capture_output=True, check=False).returncode:
        pytest.skip(f"promtool is not on the PATH, and docker has no image {IMAGE} or no engine")
    mounted = [f"--volume={each}:/tree/{each.relative_to(ROOT)}:ro" for each in (FOLDER, CASES)]
    user = f"--user={os.getuid()}:{os.getgid()}"
    return (docker, "run", "--rm", "--network=none", user, *mounted, "--workdir=/tree", "--entrypoint=promtool", IMAGE)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "infra/prometheus/prometheus.yml"],
        ["check", "rules", "infra/prometheus/rules/first_look.yml", "infra/prometheus/rules/alerts.yml"],
        ["test", "rules", "tests/unit/prometheus/rules_test.yml"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool_is_content(arguments: Iterable[str]) -> None:
    done = subprocess.run([*promtool(), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
