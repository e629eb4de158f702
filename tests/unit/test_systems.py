"""The front door of systems/: what is there, what can be loaded, and what a broken folder does to the others."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import systems
from contracts.errors import BrokenSystem, SetupError, UnknownSystem
from contracts.system import System
from infra.settings import Settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that is searched for systems beside the project's own."""
    monkeypatch.setattr(systems, "__path__", [*systems.__path__, str(tmp_path)])
    systems.load.cache_clear()
    yield tmp_path
    forget(tmp_path)


def forget(folder: Path) -> None:
    """Another test may have another system of the same name."""
    systems.load.cache_clear()
    for name in [name for name in sys.modules if name.startswith("systems.")]:
        module = sys.modules[name]
        places = [str(module.__file__), *getattr(module, "__path__", ())]  # a folder without __init__.py has no file
        if any(place.startswith(str(folder)) for place in places):
            del sys.modules[name]


def write_system(folder: Path, name: str, **files: str) -> None:
    """A system that borrows everything from ad_click, but for the files given."""
    (folder / name).mkdir()
    for step in systems.STEPS:
        text = f"from systems.ad_click.{step.file} import {step.constant}\n"
        (folder / name / f"{step.file}.py").write_text(files.get(step.file, text))


def changed(step: str, change: str) -> str:
    """A step's file that takes ad_click's constant and changes it."""
    constant = step.upper()
    return (
        "from dataclasses import replace\nfrom datetime import timedelta\nfrom systems.ad_click import features\n"
        f"from systems.ad_click.{step} import {constant}\n{constant} = replace({constant}, {change})\n"
    )


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


def test_the_seventh_step_is_had_alone() -> None:
    for name in systems.names():
        assert systems.monitoring(name) == systems.load(name).monitoring
    with pytest.raises(UnknownSystem, match="Known: ad_click"):
        systems.monitoring("nowhere")


def test_a_missing_file_is_named(folder: Path) -> None:
    write_system(folder, "without_model")
    (folder / "without_model" / "model.py").unlink()
    with pytest.raises(BrokenSystem, match=r"'without_model': /.*/without_model/model\.py is missing.*MODEL"):
        systems.load("without_model")


def test_a_missing_constant_is_named(folder: Path) -> None:
    write_system(folder, "without_task", task="TUSK = 1\n")
    with pytest.raises(BrokenSystem, match=r"/without_task/task\.py does not bind TASK"):
        systems.load("without_task")


def test_a_constant_of_another_kind_is_named(folder: Path) -> None:
    write_system(folder, "of_lead", model="MODEL = 'a brick'\n")
    with pytest.raises(BrokenSystem, match=r"/of_lead/model\.py binds MODEL to a str; it must be a Model"):
        systems.load("of_lead")


def test_an_error_while_a_file_is_imported_is_named(folder: Path) -> None:
    write_system(folder, "cracked", features="import no_such_vendor\n")
    with pytest.raises(BrokenSystem, match=r"/cracked/features\.py cannot be imported: ModuleNotFoundError"):
        systems.load("cracked")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("MODEL = (\n", "SyntaxError: '\\(' was never closed"),
        ("raise RuntimeError('no such weather')\n", "RuntimeError: no such weather"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("from systems.ad_click.model import NO_SUCH\n", "ImportError: cannot import name 'NO_SUCH'"),
        ("from contracts.system import Model\nMODEL = Model(name='x')\n", "TypeError: .* missing 2 required"),
    ],
    ids=["syntax", "raises", "exits", "name", "fields"],
)
def test_whatever_a_file_does_when_it_is_imported_is_told_with_its_name(folder: Path, text: str, what: str) -> None:
    write_system(folder, "falls_down", model=text)
    with pytest.raises(
        BrokenSystem, match=rf"'falls_down': /.*/model\.py cannot be imported: {what}.*; mend that file"
    ):
        systems.load("falls_down")


def test_an_import_that_hangs_costs_its_own_system_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "PATIENCE", 0.2)
    released = threading.Event()
    monkeypatch.setattr(threading, "released", released, raising=False)  # the file waits for it
    write_system(folder, "asleep", model="import threading\nthreading.released.wait()\n")
    systems.load("ad_click")
    with pytest.raises(
        BrokenSystem, match=r"'asleep': importing /.*/model\.py takes over 0\.2 s; let it wait for nothing"
    ):
        systems.load("asleep")
    assert systems.load("ad_click").name == "ad_click"
    released.set()


def test_a_file_of_a_shipped_system_is_named_as_it_stands_in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = systems.Step("no_such_step", systems.System)
    monkeypatch.setattr(systems, "STEPS", (absent,))
    systems.load.cache_clear()
    with pytest.raises(BrokenSystem, match=r"'ad_click': systems/ad_click/no_such_step\.py is missing"):
        systems.load("ad_click")
    systems.load.cache_clear()


INCOHERENT = [
    ("task", "target='bought'", "task.target names 'bought'"),
    ("features", "source=replace(FEATURES.source, id='prediction_id')", "'prediction_id' is reserved by the log"),
    (
        "features",
        "views=tuple(replace(view, ttl=timedelta(hours=1)) for view in FEATURES.views)",
        "set ttl to at least 7 days, 1:00:00",
    ),
    (
        "features",
        "views=(replace(FEATURES.views[0], features=(replace(FEATURES.views[0].features[1], after=timedelta(0)),)),)",
        "'user_click_rate_7d' is made of the label and counts it after 0:00:00; set after to .*, 0:30:00",
    ),
    (
        "features",
        "views=(replace(FEATURES.views[0], every=timedelta(0)),)",
        "live view 'user' counts and sums row columns alone; move 'user_click_rate_7d'",
    ),
    (
        "features",
        "views=(replace(FEATURES.views[0], every=timedelta(0), features=(replace(FEATURES.views[0].features[0],"
        " after=timedelta(hours=1)),)),)",
        "live view 'user' counts an event at once; drop `after` of 'user_impressions_7d'",
    ),
    ("features", "views=('user',)", "AttributeError: 'str' object has no attribute"),
    ("serving", "rows=None", "serving.rows is None, and model.retrieval is, too"),
    ("task", "censored=True", "task.censored is for a task of one decision; .* 'ad_id'"),
    ("task", "example={'user_id': 'u1'}", "task.example is not a request: device: Field required"),
    ("task", "response=int", "task.response is int; it must be a pydantic model"),
]


@pytest.mark.parametrize(("step", "change", "told"), INCOHERENT, ids=range(len(INCOHERENT)))
def test_files_that_do_not_hold_together_are_told_apart(folder: Path, step: str, change: str, told: str) -> None:
    write_system(folder, "astray", **{step: changed(step, change)})
    with pytest.raises(BrokenSystem, match=f"'astray' does not hold together: .*{told}"):
        systems.load("astray")


STAGE_ONE = (
    "from dataclasses import replace\nfrom contracts.system import Retrieval, Source\n"
    "from systems.ad_click.model import MODEL\nfrom systems.ad_click.task import TASK\n"
    "ADS = Source('ads', 'ad_id', {'bid': 'float'})\nNOBODY = dict(TASK.example)\n"
    "RETRIEVAL = Retrieval(items=ADS, columns=('bid',), share=0.5, fit=None, load=None, anybody=NOBODY, metrics=None)\n"
)
NO_ROWS = (
    "from dataclasses import replace\nfrom systems.ad_click.serving import SERVING\n"
    "SERVING = replace(SERVING, rows=None)\n"
)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("columns=('category',)", "retrieval.columns names 'category', which is no float column of the rows"),
        ("columns=('similarity',)", "retrieval.columns names 'similarity', which is no float column of the rows"),
        ("items=replace(ADS, id='advert')", "task.item is 'ad_id' and the catalogue's id 'advert'"),
        ("share=1.0", "retrieval.share is 1.0; it must leave rows to train on"),
        ("anybody={}", "retrieval.anybody is not a request: user_id: Field required"),
    ],
)
def test_a_stage_one_that_does_not_fit_the_rest_is_refused(folder: Path, change: str, told: str) -> None:
    fitting = f"{STAGE_ONE}MODEL = replace(MODEL, retrieval=RETRIEVAL)\n"
    write_system(folder, "two_stages", model=fitting, serving=NO_ROWS)
    assert systems.load("two_stages").model.retrieval is not None
    amiss = f"{STAGE_ONE}MODEL = replace(MODEL, retrieval=replace(RETRIEVAL, {change}))\n"
    write_system(folder, "amiss", model=amiss, serving=NO_ROWS)
    with pytest.raises(BrokenSystem, match=f"'amiss' does not hold together: {told}"):
        systems.load("amiss")
    write_system(folder, "rows_twice", model=fitting)
    with pytest.raises(BrokenSystem, match=r"serving\.rows and model\.retrieval both make the rows"):
        systems.load("rows_twice")


def test_one_broken_system_takes_no_other_down(folder: Path) -> None:
    write_system(folder, "split", serving="1 / 0\n")
    write_system(folder, "gone", world="import sys\nsys.exit()\n")
    loaded, broken = systems.load_all()
    assert "ad_click" in [system.name for system in loaded]
    told = [str(error) for error in broken]
    assert [one for one in told if "'split'" in one and "ZeroDivisionError" in one]
    assert [one for one in told if "'gone'" in one and "SystemExit" in one]


def test_a_folder_that_cannot_be_a_name_is_told_so(folder: Path) -> None:
    write_system(folder, "my-system")
    with pytest.raises(BrokenSystem, match="'my-system': rename its folder"):
        systems.load("my-system")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a setting names as one with systems."""
    monkeypatch.setenv("FLYWHEEL_SYSTEMS_DIR", str(tmp_path / "mine"))
    monkeypatch.setattr(systems, "__path__", [*systems.__path__])
    systems.load.cache_clear()
    yield tmp_path / "mine"
    forget(tmp_path)


def test_systems_of_another_folder_are_found_beside_the_shipped_ones(elsewhere: Path) -> None:
    elsewhere.mkdir()
    write_system(elsewhere, "from_elsewhere")
    assert {"ad_click", "from_elsewhere"} <= set(systems.names())
    assert systems.load("from_elsewhere").name == "from_elsewhere"


def test_a_system_that_is_there_twice_is_told_so(elsewhere: Path) -> None:
    elsewhere.mkdir()
    write_system(elsewhere, "ad_click")
    with pytest.raises(BrokenSystem, match=r"'ad_click' is there twice, in .* and .*mine; rename one of the folders"):
        systems.load("ad_click")


def test_a_folder_of_systems_that_is_not_there_is_told_by_its_setting(elsewhere: Path) -> None:
    with pytest.raises(SetupError, match=r"FLYWHEEL_SYSTEMS_DIR='.*mine' is no folder; make it, or unset"):
        systems.names()


def test_a_relative_folder_of_systems_is_the_same_for_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = Settings.load({"FLYWHEEL_SYSTEMS_DIR": "mine"})
    assert given.systems_dir == tmp_path / "mine"
    assert Settings.load(given.environ()) == given
