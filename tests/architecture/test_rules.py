"""The tree keeps its own rules: imports, sizes, one reader of the environment, and documentation that cannot lie."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import systems
from infra.settings import PREFIX, ROOT, Settings

PACKAGES = ("contracts", "systems", "feature_repo", "services", "pipelines", "monitoring", "infra")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
README = (ROOT / "README.md").read_text()


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_imports_point_one_way() -> None:
    linter = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linter.returncode == 0, linter.stdout


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_a_file_can_be_held_in_the_head(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= 300
    assert ast.get_docstring(tree), "every module says its place in the loop"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            assert node.end_lineno - node.lineno < 50, f"{node.name} has over 50 lines"


def test_most_functions_are_short() -> None:
    lengths = sorted(
        node.end_lineno - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    )
    assert lengths[len(lengths) // 2] <= 8
    assert lengths[int(len(lengths) * 0.95)] <= 30


def test_only_settings_read_the_environment() -> None:
    readers = [p for p in FILES if re.search(r"os\.environ|os\.getenv|from os import.*environ", p.read_text())]
    assert names(readers) == ["infra/settings.py"]


def test_no_drawer_for_odds_and_ends() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "common", "helpers", "base", "manager", "misc")]


def test_no_system_is_named_outside_its_folder() -> None:
    outside = [path for path in FILES if "systems" not in path.relative_to(ROOT).parts[:1]]
    known = "|".join(systems.names())
    named = re.compile(rf"""name == ["']({known})["']""")
    assert not [path for path in outside if named.search(path.read_text())]


def test_every_setting_is_in_the_readme() -> None:
    documented = (ROOT / "infra" / "README.md").read_text()
    missing = [name for name in Settings.model_fields if PREFIX + name.upper() not in documented]
    assert not missing


def test_every_system_has_a_readme() -> None:
    assert not [name for name in systems.names() if not (ROOT / "systems" / name / "README.md").exists()]


def test_every_folder_is_explained_in_the_readme() -> None:
    assert not [package for package in (*PACKAGES, "tests", "requirements") if f"`{package}/" not in README]


def test_no_machine_path_or_secret_is_committed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in tracked if name.startswith(".flywheel") or name.endswith(".pem")]
    paths = re.compile(r"/(root|home/[a-z]+)/[a-z.]")
    texts = [name for name in tracked if name.endswith((".py", ".md", ".toml", ".txt", ".yaml"))]
    assert not [name for name in texts if paths.search((ROOT / name).read_text()) and name != __file__]
