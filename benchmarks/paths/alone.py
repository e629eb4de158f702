"""A step that is measured in a process of its own, so that its memory is no one else's: who asks for it.

`worker.py` is that process.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.errors import Unavailable
from infra.components import component, environ_of
from infra.settings import ROOT, Settings, machine_environ

OURS = "flywheel"  # a contender; each other one is the name of an offline store of Feast's


@dataclass(frozen=True)
class Cost:
    """Of one step. The peak is that of the whole process: interpreter, imports and the data it was handed included."""

    seconds: float
    processor: float  # seconds, user's and system's, of all its threads
    peak: float  # resident gigabytes (10⁹ bytes)


def alone(settings: Settings, task: str, contender: str = OURS, **given: Any) -> Cost:
    """What a task of `worker.py` cost; `Unavailable` with its last words when it fails.

    Flywheel's gets the environment that the flows have in the stack; a comparator that of a user's own shell.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.paths.worker", task],
        input=json.dumps({"contender": contender, **given}),
        env=_environ(settings, contender),
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise Unavailable(f"The step {task!r} of {contender} ended: {last}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def _environ(settings: Settings, contender: str) -> Mapping[str, str]:
    if contender == OURS:
        return environ_of(component(settings, "flows"), settings)
    state = str(settings.state_dir.absolute())
    return {**machine_environ(), **settings.environ(), "FLYWHEEL_STATE_DIR": state, "FEAST_USAGE": "False"}
