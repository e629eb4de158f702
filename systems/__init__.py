"""The front door of the systems: every folder here is one, found by being there. Nothing else knows their names."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from contracts.errors import BrokenSystem, UnknownSystem
from contracts.system import Features, Model, Monitoring, Requirements, Serving, System, Task, Training
from systems.coherence import faults


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
    folders = (entry for root in __path__ for entry in Path(root).iterdir())
    return tuple(sorted({folder.name for folder in folders if _is_system(folder)}))


@cache
def load(name: str) -> System:
    """The system in the folder `name`; UnknownSystem when there is none, BrokenSystem when it cannot be loaded."""
    if name not in names():
        raise UnknownSystem(f"No system named {name!r} in systems/. Known: {', '.join(names()) or 'none yet'}.")
    if not name.isidentifier() or "__" in name:
        raise BrokenSystem(f"System {name!r}: rename its folder to letters, digits and single underscores.")
    system = System(name=name, **{step.file: _constant(name, step) for step in STEPS})
    if found := faults(system):
        raise BrokenSystem(f"System {name!r} does not hold together: {found[0]}")
    return system


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


def _is_system(folder: Path) -> bool:
    """A folder with something in it: git leaves `__pycache__` behind where a system was removed."""
    if not folder.is_dir() or folder.name.startswith(("_", ".")):
        return False
    return any(entry.name != "__pycache__" for entry in folder.iterdir())


def _constant(system: str, step: Step) -> Any:
    module = _module(system, step)
    if not hasattr(module, step.constant):
        raise BrokenSystem(
            f"System {system!r}: systems/{system}/{step.file}.py does not bind {step.constant}; "
            f"add `{step.constant} = …` as systems/README.md shows."
        )
    value = getattr(module, step.constant)
    if not isinstance(value, step.kind):
        raise BrokenSystem(
            f"System {system!r}: systems/{system}/{step.file}.py binds {step.constant} to a {type(value).__name__}; "
            f"it must be a {step.kind.__name__}."
        )
    return value


def _module(system: str, step: Step) -> ModuleType:
    wanted = f"systems.{system}.{step.file}"
    try:
        return importlib.import_module(wanted)
    except Exception as error:  # a plug-in's file may fail in any way while it is imported
        if isinstance(error, ModuleNotFoundError) and error.name == wanted:
            raise BrokenSystem(
                f"System {system!r}: systems/{system}/{step.file}.py is missing; "
                f"add it and let it bind {step.constant}."
            ) from error
        raise BrokenSystem(
            f"System {system!r}: systems/{system}/{step.file}.py cannot be imported: "
            f"{type(error).__name__}: {error}; mend that file."
        ) from error
