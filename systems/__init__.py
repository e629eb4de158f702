"""The front door of the systems: every folder here is one, found by being there. Nothing else knows their names.

So is every folder in the one that `FLYWHEEL_SYSTEMS_DIR` names, for systems that are kept in a repository of their own.
"""

import importlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any, cast

from contracts.errors import BrokenSystem, SetupError, UnknownSystem
from contracts.system import Features, Model, Monitoring, Requirements, Serving, System, Task, Training
from infra.settings import Settings
from systems.coherence import faults

PATIENCE = 60.0  # seconds that importing one file may take; one that brings scikit-learn took 5 on a busy machine
OWN = Path(__file__).parent


@dataclass(frozen=True)
class Step:
    """One file of a system's folder, the constant it binds and what that must be."""

    file: str
    kind: type

    @property
    def constant(self) -> str:
        return self.file.upper()


STEPS = (
    Step("requirements", Requirements),
    Step("task", Task),
    Step("features", Features),
    Step("model", Model),
    Step("training", Training),
    Step("serving", Serving),
    Step("monitoring", Monitoring),
    Step("world", Callable),  # type: ignore[arg-type]  # isinstance takes it; a WorldFactory is any callable
)


def names() -> tuple[str, ...]:
    """The names of all systems that are there, sorted; whether they can be loaded is another question."""
    folders = (entry for root in _roots() for entry in root.iterdir())
    return tuple(sorted({folder.name for folder in folders if _is_system(folder)}))


@cache
def load(name: str) -> System:
    """The system in the folder `name`; UnknownSystem when there is none, BrokenSystem when it cannot be loaded."""
    if name not in names():
        raise UnknownSystem(f"No system named {name!r} in systems/. Known: {', '.join(names()) or 'none yet'}.")
    if not name.isidentifier() or "__" in name:
        raise BrokenSystem(f"System {name!r}: rename its folder to letters, digits and single underscores.")
    if len(places := [str(root) for root in _roots() if _is_system(root / name)]) > 1:
        raise BrokenSystem(f"System {name!r} is there twice, in {' and '.join(places)}; rename one of the folders.")
    system = System(name=name, **{step.file: _constant(name, step) for step in STEPS})
    if found := _faults(system):
        raise BrokenSystem(f"System {name!r} does not hold together: {found[0]}")
    return system


def monitoring(name: str) -> Monitoring:
    """Step 7 alone, for who would pay for the whole system with its estimator's imports (100 MB) and keep them."""
    if name not in names():
        raise UnknownSystem(f"No system named {name!r} in systems/. Known: {', '.join(names()) or 'none yet'}.")
    return cast(Monitoring, _constant(name, next(step for step in STEPS if step.kind is Monitoring)))


def load_all() -> tuple[list[System], list[BrokenSystem]]:
    """Every system that loads, and for every other one what to mend: one broken folder takes no other down."""
    loaded: list[System] = []
    broken: list[BrokenSystem] = []
    for name in names():
        try:
            loaded.append(load(name))
        except BrokenSystem as error:
            broken.append(error)
    return loaded, broken


def _roots() -> list[Path]:
    """The folders that are searched: this one, and the one that a setting names."""
    extra = Settings.load().systems_dir
    if extra and not extra.is_dir():
        raise SetupError(f"FLYWHEEL_SYSTEMS_DIR={str(extra)!r} is no folder; make it, or unset the variable.")
    if extra and str(extra) not in __path__:
        __path__.append(str(extra))  # so that `systems.NAME` is found there as well
    return [Path(root) for root in __path__]


def _is_system(folder: Path) -> bool:
    """A folder with something in it: git leaves `__pycache__` behind where a system was removed."""
    if not folder.is_dir() or folder.name.startswith(("_", ".")):
        return False
    return any(entry.name != "__pycache__" for entry in folder.iterdir())


def _faults(system: System) -> list[str]:
    try:
        return faults(system)
    except Exception as error:  # dataclasses check no types, and what a plug-in put into them is used here first
        return [f"looking at it ended with {type(error).__name__}: {error}; is a field of another type than declared?"]


def _constant(system: str, step: Step) -> Any:
    module, file = _module(system, step), _file(system, step)
    if not hasattr(module, step.constant):
        raise BrokenSystem(
            f"System {system!r}: {file} does not bind {step.constant}; "
            f"add `{step.constant} = …` as systems/README.md shows."
        )
    value = getattr(module, step.constant)
    if not isinstance(value, step.kind):
        raise BrokenSystem(
            f"System {system!r}: {file} binds {step.constant} to a {type(value).__name__}; "
            f"it must be a {step.kind.__name__}."
        )
    return value


def _module(system: str, step: Step) -> ModuleType:
    wanted, file = f"systems.{system}.{step.file}", _file(system, step)
    try:
        return _imported(wanted)
    except TimeoutError as error:
        raise BrokenSystem(
            f"System {system!r}: importing {file} takes over {PATIENCE:g} s; let it wait for nothing when imported."
        ) from error
    except (Exception, SystemExit) as error:  # a plug-in's file may fail in any way while it is imported
        if isinstance(error, ModuleNotFoundError) and error.name == wanted:
            raise BrokenSystem(
                f"System {system!r}: {file} is missing; add it and let it bind {step.constant}."
            ) from error
        raise BrokenSystem(
            f"System {system!r}: {file} cannot be imported: {type(error).__name__}: {error}; mend that file."
        ) from error


def _imported(name: str) -> ModuleType:
    """A module; TimeoutError when it does not come. Its own thread is all that an import that hangs holds up."""
    future: Future[ModuleType] = Future()
    Thread(target=_import_into, args=(future, name), name=f"import {name}", daemon=True).start()
    return future.result(PATIENCE)


def _import_into(future: "Future[ModuleType]", name: str) -> None:
    try:
        future.set_result(importlib.import_module(name))
    except BaseException as error:  # `sys.exit()` too; whoever waits for it is told
        future.set_exception(error)


def _file(system: str, step: Step) -> str:
    """Where a step's file is, as its author knows it."""
    folder = next(root / system for root in _roots() if _is_system(root / system))
    return f"systems/{system}/{step.file}.py" if folder.parent == OWN else f"{folder}/{step.file}.py"
