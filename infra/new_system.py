"""`flywheel new NAME`: a copy of the template in systems/, complete and running, for its author to change."""

import keyword
import re
import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from contracts.errors import InvalidInput
from infra.settings import ROOT, Settings

SYSTEMS = ROOT / "systems"
TEMPLATE = "_template"  # the folder, and what the name takes the place of in every file
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 40

NEXT = """\
{folder} is a system that runs as it stands. Make it yours in this order:
  1 requirements.py  what is asked, and how late a label may come
  2 features.py      the columns of your events, and what is counted over them
  3 task.py          the fields of a request: the same columns, without the label
Then model.py, training.py, serving.py, monitoring.py, and world.py where its simulation should know more.
Try it: flywheel up --detach; flywheel bootstrap {name}; flywheel simulate {name} --seconds 20
(a stack that is up already: flywheel down first; it looks for systems when it starts)
docs/tutorial.md goes on to your own data."""


def new(
    name: Annotated[str, typer.Argument(help="lower case, with single underscores: late_deliveries")],
) -> None:
    """Make a system that runs, from a template: its seven files, a simulated world and a README."""
    folder = make(name, Settings.load().systems_dir or SYSTEMS)
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    Console(soft_wrap=True, highlight=False, markup=False).print(NEXT.format(folder=shown, name=name))


def make(name: str, where: Path) -> Path:
    """Copy the template into the folder `where` under a new name: the system's folder. It is there whole or not at all;
    InvalidInput when the name cannot be a system's, or is taken."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or len(name) > LONGEST:
        raise InvalidInput(
            f"{name!r} cannot be a system's name; take lower-case letters, digits and single underscores, a letter "
            f"first, {LONGEST} at most: late_deliveries.",
            "name",
        )
    if taken := [place for root in (where, SYSTEMS) for place in (root / name, root / f"{name}.py") if place.exists()]:
        raise InvalidInput(f"{taken[0]} is there already; take another name, or remove it.", "name")
    unfinished = where / f".{name}"
    shutil.rmtree(unfinished, ignore_errors=True)  # what an interrupted run left
    unfinished.mkdir(parents=True)
    for file in sorted((SYSTEMS / TEMPLATE).glob("*.*")):
        text = file.read_text(encoding="utf-8").replace(TEMPLATE, name)
        (unfinished / file.name).write_text(text, encoding="utf-8")
    return unfinished.rename(where / name)
