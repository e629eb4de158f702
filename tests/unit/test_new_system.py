"""`flywheel new`: what it makes, what it refuses, and that the template is code like all other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import InvalidInput
from infra.new_system import SYSTEMS, TEMPLATE, make
from infra.settings import ROOT, Settings, machine_environ

STEPS = ("requirements", "task", "features", "model", "training", "serving", "monitoring", "world")


def new(name: str, settings: Settings) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.cli", "new", name]
    environ = machine_environ() | settings.environ()
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)


def code_lines(path: Path) -> int:
    """Lines that are neither blank, comment nor docstring."""
    tree = ast.parse(path.read_text())
    told = {
        line for node in ast.walk(tree) if _is_text(node) for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    lines = enumerate(path.read_text().splitlines(), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and number not in told for number, line in lines)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def test_a_new_system_is_the_template_under_its_own_name(tmp_path: Path) -> None:
    folder = make("late_deliveries", tmp_path)
    assert {path.name for path in folder.iterdir()} == {f"{step}.py" for step in STEPS} | {"__init__.py", "README.md"}
    for path in folder.iterdir():
        assert TEMPLATE not in path.read_text()
        template = (SYSTEMS / TEMPLATE / path.name).read_text()
        assert path.read_text() == template.replace(TEMPLATE, "late_deliveries")
    assert "from systems.late_deliveries.features import" in (folder / "task.py").read_text()


def test_the_seven_steps_are_about_150_lines_with_the_world_under_200() -> None:
    lines = {step: code_lines(SYSTEMS / TEMPLATE / f"{step}.py") for step in STEPS}
    assert sum(lines.values()) - lines["world"] <= 150, lines
    assert sum(lines.values()) <= 200, lines


def test_new_says_which_file_comes_first_and_where_it_is(tmp_path: Path, settings: Settings) -> None:
    given = settings.model_copy(update={"systems_dir": tmp_path / "mine"})
    made = new("late_deliveries", given)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith(f"{tmp_path}/mine/late_deliveries is a system that runs as it stands.")
    assert made.stdout.index("requirements.py") < made.stdout.index("features.py") < made.stdout.index("task.py")
    listed = subprocess.run(
        [sys.executable, "-c", "import systems; print(systems.load('late_deliveries').name, *systems.names())"],
        env=machine_environ() | given.environ(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"late_deliveries", "ad_click"} <= set(listed.stdout.split())


def test_new_refuses_in_one_sentence_and_with_status_1(tmp_path: Path, settings: Settings) -> None:
    refused = new("ad_click", settings.model_copy(update={"systems_dir": tmp_path}))
    assert refused.returncode == 1
    assert refused.stderr == f"{SYSTEMS / 'ad_click'} is there already; take another name, or remove it.\n"
    assert list(tmp_path.glob("ad*")) == []


@pytest.mark.parametrize(
    "name", ["", "Late", "late-deliveries", "2late", "late__deliveries", "_late", "late_", "class", "../late", "a" * 41]
)
def test_what_cannot_be_a_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be a system's name; take lower-case letters"):
        make(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    folder = make("late_deliveries", tmp_path)
    (folder / "task.py").write_text("mine")
    with pytest.raises(InvalidInput, match="late_deliveries is there already"):
        make("late_deliveries", tmp_path)
    assert (folder / "task.py").read_text() == "mine"


def test_a_name_that_would_hide_a_module_of_the_front_door_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"systems/coherence\.py is there already"):
        make("coherence", tmp_path)


def test_what_an_interrupted_run_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".late_deliveries").mkdir()
    (tmp_path / ".late_deliveries" / "stale.py").write_text("1 / 0")
    assert not (make("late_deliveries", tmp_path) / "stale.py").exists()
