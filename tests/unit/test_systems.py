"""The front door of systems/: what is there, what can be loaded, and what a broken folder does to the others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import systems
from contracts.errors import BrokenSystem, UnknownSystem
from contracts.system import System


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that is searched for systems beside the project's own."""
    monkeypatch.setattr(systems, "__path__", [*systems.__path__, str(tmp_path)])
    systems.load.cache_clear()
    yield tmp_path
    systems.load.cache_clear()


def write_system(folder: Path, name: str, **files: str) -> None:
    """A system that borrows everything from ad_click, but for the files given."""
    (folder / name).mkdir()
    for step in systems.STEPS:
        text = f"from systems.ad_click.{step.file} import {step.constant}\n"
        (folder / name / f"{step.file}.py").write_text(files.get(step.file, text))


def test_a_folder_is_a_system_by_being_there(folder: Path) -> None:
    write_system(folder, "borrowed_whole")
    assert systems.names() == tuple(sorted(systems.names()))
    assert {"ad_click", "borrowed_whole"} <= set(systems.names())
    loaded = systems.load("borrowed_whole")
    assert isinstance(loaded, System)
    assert loaded.name == "borrowed_whole"


def test_what_git_leaves_behind_is_no_system(folder: Path) -> None:
    (folder / "removed" / "__pycache__").mkdir(parents=True)
    (folder / "_private").mkdir()
    (folder / "_private" / "task.py").touch()
    (folder / "notes.md").touch()
    assert not {"removed", "_private", "notes.md"} & set(systems.names())


def test_a_system_is_loaded_once() -> None:
    assert systems.load("ad_click") is systems.load("ad_click")


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownSystem, match=r"No system named 'ad_clik' in systems/\. Known: .*ad_click"):
        systems.load("ad_clik")


def test_a_missing_file_is_named(folder: Path) -> None:
    write_system(folder, "without_model")
    (folder / "without_model" / "model.py").unlink()
    with pytest.raises(BrokenSystem, match=r"'without_model': systems/without_model/model\.py is missing.*MODEL"):
        systems.load("without_model")


def test_a_missing_constant_is_named(folder: Path) -> None:
    write_system(folder, "without_task", task="TUSK = 1\n")
    with pytest.raises(BrokenSystem, match=r"systems/without_task/task\.py does not bind TASK"):
        systems.load("without_task")


def test_a_constant_of_another_kind_is_named(folder: Path) -> None:
    write_system(folder, "of_lead", model="MODEL = 'a brick'\n")
    with pytest.raises(BrokenSystem, match=r"systems/of_lead/model\.py binds MODEL to a str; it must be a Model"):
        systems.load("of_lead")


def test_an_error_while_a_file_is_imported_is_named(folder: Path) -> None:
    write_system(folder, "cracked", features="import no_such_vendor\n")
    with pytest.raises(BrokenSystem, match=r"systems/cracked/features\.py cannot be imported: ModuleNotFoundError"):
        systems.load("cracked")


def test_names_that_do_not_hold_together_are_refused(folder: Path) -> None:
    task = (
        "from dataclasses import replace\nfrom systems.ad_click.task import TASK\nTASK = replace(TASK, target='bought')"
    )
    write_system(folder, "astray", task=task)
    with pytest.raises(BrokenSystem, match=r"'astray' does not hold together: task.target names 'bought'"):
        systems.load("astray")


def test_a_reserved_name_is_refused(folder: Path) -> None:
    features = (
        "from dataclasses import replace\nfrom systems.ad_click.features import FEATURES\n"
        "FEATURES = replace(FEATURES, source=replace(FEATURES.source, id='prediction_id'))"
    )
    write_system(folder, "greedy", features=features)
    with pytest.raises(BrokenSystem, match=r"'prediction_id' is reserved by the log"):
        systems.load("greedy")


def test_a_view_that_dies_before_its_window_ends_is_refused(folder: Path) -> None:
    features = (
        "from dataclasses import replace\nfrom systems.ad_click.features import FEATURES, HOUR\n"
        "views = tuple(replace(view, ttl=HOUR) for view in FEATURES.views)\n"
        "FEATURES = replace(FEATURES, views=views)"
    )
    write_system(folder, "short_lived", features=features)
    with pytest.raises(BrokenSystem, match=r"set ttl to at least 7 days, 1:00:00"):
        systems.load("short_lived")


def test_one_broken_system_takes_no_other_down(folder: Path) -> None:
    write_system(folder, "split", serving="1 / 0\n")
    loaded, broken = systems.load_all()
    assert "ad_click" in [system.name for system in loaded]
    assert ["ZeroDivisionError" in str(error) for error in broken] == [True]


def test_a_folder_that_cannot_be_a_name_is_told_so(folder: Path) -> None:
    write_system(folder, "my-system")
    with pytest.raises(BrokenSystem, match="'my-system': rename its folder"):
        systems.load("my-system")
