"""All systems on one stack: each answers with its champion, and what befalls one leaves the others alone."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import systems
from infra import wiring
from infra.settings import ROOT, machine_environ
from services.client.simulation import Simulation
from tests.conftest import poll
from tests.loop.conftest import Living, settle

pytestmark = pytest.mark.timeout(900)  # the first one waits for everybody's first model
VICTIM = "fraud_detection"  # the one that is given bad models and floods
WIDTH = 4096  # of the slow model's layers: some 10 ms each, for a row
Everybody = Mapping[str, Living]


@pytest.fixture(scope="module")
def everybody(living: Living) -> Everybody:
    """The living stack with a first model of every system there is."""
    command = [Path(sys.executable).with_name("flywheel"), "bootstrap", "--rows", "120000"]
    environ = machine_environ() | living.settings.environ()
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    everybody = {name: living.of(name) for name in systems.names()}
    for one in everybody.values():
        one.answered_by(one.champion().version, seconds=30.0)
    return everybody


@contextmanager
def asked(everybody: Everybody, *but: str, rate: float = 8.0) -> Iterator[Mapping[str, Simulation]]:
    """Clients of every system but some, while the block runs."""
    with ExitStack() as running:
        yield {name: running.enter_context(one.simulation(rate)) for name, one in everybody.items() if name not in but}


def test_all_answer_at_once_each_with_its_own_champion(everybody: Everybody) -> None:
    with asked(everybody) as clients:
        for simulation in clients.values():
            settle(simulation, 60)
    for name, simulation in clients.items():
        assert set(simulation.ledger.versions) == {everybody[name].champion().version}, name
        assert not simulation.ledger.failures, name


def test_each_logs_its_own(everybody: Everybody) -> None:
    for name, one in everybody.items():
        answer = one.predict(one.request(7))
        archive = wiring.archive(one.settings)
        record = poll(lambda a=archive, i=answer: a.prediction(i["prediction_id"]), 15.0, f"a record of {name}")
        assert record.system == name
        assert record.feature_names == one.system.features.names
        assert record.result == answer["result"]


@pytest.mark.parametrize("model", ["not a number", "slow", "not a model"])
def test_a_bad_model_of_one_leaves_the_others_answers_alone(everybody: Everybody, model: str) -> None:
    victim, before = everybody[VICTIM], everybody[VICTIM].champion()
    with asked(everybody, VICTIM) as clients, victim.simulation(rate=10) as hit:
        settle(hit, 20)
        registry = wiring.registry(victim.settings)
        registry.point(VICTIM, "champion", registered(victim, bad(model, len(before.feature_names))))
        seen = {name: len(simulation.ledger.predictions) for name, simulation in clients.items()}
        for name, simulation in clients.items():
            settle(simulation, seen[name] + 60)
        registry.point(VICTIM, "champion", before.version)
        victim.answered_by(before.version, seconds=20.0)
    for name, simulation in clients.items():
        assert set(simulation.ledger.versions) == {everybody[name].champion().version}, name
        assert not simulation.ledger.failures, name
    assert not hit.ledger.failures  # its own clients were answered, by the old champion or by the rules


def test_a_flood_of_one_leaves_the_others_answers_alone(everybody: Everybody, tmp_path: Path) -> None:
    victim = everybody[VICTIM]
    with asked(everybody, VICTIM) as clients:
        for simulation in clients.values():
            settle(simulation, 10)
        answered, refused = flood(victim, tmp_path / "found.json")
        seen = {name: len(simulation.ledger.predictions) for name, simulation in clients.items()}
    assert answered > 0
    assert refused > 0
    for name, simulation in clients.items():
        assert seen[name] > 30, name
        assert set(simulation.ledger.versions) == {everybody[name].champion().version}, name
        assert not simulation.ledger.failures, name
    victim.answered_by(victim.champion().version, seconds=20.0)


def flood(victim: Living, found: Path) -> tuple[int, int]:
    """As many requests as 64 impatient clients can send: how many were answered, how many refused. They come from
    elsewhere, so to speak: on this machine they take only the processor time that nobody else wants."""
    options = ("--users", "64", "--seconds", "6", "--warm-up", "1", "--processes", "1", "--json", str(found))
    done = subprocess.run(
        ["nice", "-n", "19", sys.executable, "-m", "infra.cli", "loadtest", VICTIM, *options],
        env=machine_environ() | victim.settings.environ(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.exists(), done.stdout + done.stderr
    counted = json.loads(found.read_text())
    assert all("503" in kind or "429" in kind for kind in counted["errors"]), counted["errors"]
    return counted["answered"], counted["failed"]


def registered(living: Living, model: bytes) -> str:
    """A version of a system with these bytes, past the gate: as somebody with access to the registry could do."""
    champion = living.champion()
    with wiring.tracker(living.settings).run(living.system.name, "by hand", {}) as run:
        names, metrics = champion.feature_names, champion.metrics
        version = wiring.registry(living.settings).register(living.system.name, model, run.run_id, names, metrics)
    return version.version


def bad(kind: str, columns: int) -> bytes:
    """Models that should never serve: ONNX that is sound on rows of zeros, or no ONNX at all."""
    if kind == "not a model":
        return b"nothing that ONNX Runtime could read"
    nodes = [helper.make_node("ReduceSum", ["X", "axes"], ["sum"], keepdims=1)]
    constants = [numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")]
    if kind == "not a number":
        nodes += [
            helper.make_node("Abs", ["sum"], ["size"]),
            helper.make_node("Neg", ["size"], ["below"]),
            helper.make_node("Sqrt", ["below"], ["root"]),
            helper.make_node("Sigmoid", ["root"], ["probabilities"]),
        ]
    else:
        wide = np.full((1, WIDTH), 1e-6, dtype=np.float32)
        square = np.full((WIDTH, WIDTH), 1e-6, dtype=np.float32)
        constants += [numpy_helper.from_array(wide, "wide"), numpy_helper.from_array(square, "square")]
        nodes.append(helper.make_node("MatMul", ["sum", "wide"], ["layer0"]))
        for layer in range(40):
            nodes.append(helper.make_node("MatMul", [f"layer{layer}", "square"], [f"layer{layer + 1}"]))
        nodes += [
            helper.make_node("ReduceMean", ["layer40", "axes"], ["mean"], keepdims=1),
            helper.make_node("Sigmoid", ["mean"], ["probabilities"]),
        ]
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, columns])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "bad", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content
