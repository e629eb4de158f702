"""Runs of `retrain` at rest: who runs now, and what became of every run. One file of JSON lines a system, in the
platform's time, only ever appended to; and one lock a system, the kernel's, which ends with the process that holds it.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from infra import json_lines
from infra.retrain_policy import End, Retraining


@dataclass(frozen=True)
class Started:
    """What is written down before a run does anything."""

    run_id: str
    at: datetime
    reason: str
    alarm: str = ""  # the key of the alarm that it answers; empty where a person asked for it


@dataclass(frozen=True)
class Kept:
    """A run as it is kept: what the policy needs of it, and what a person wants to know."""

    run_id: str
    reason: str
    alarm: str
    retraining: Retraining
    said: str = ""  # the gate's reasons, or what went wrong
    version: str = ""  # the candidate, where there is one


class Retrainings:
    """Runs of all systems below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def alone(self, system: str) -> Iterator[bool]:
        """Whether this process holds the system's lock; it is let go with the block, or with the process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{system}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def close_lost(self, system: str, at: datetime) -> None:
        """Under the lock: runs without an end lost their process, or the lock would not be ours."""
        for lost in self.read(system):
            if lost.retraining.ended is None:
                self.end(system, lost.run_id, at, "died", "Its process ended before it did.")

    def close_dead(self, system: str, at: datetime) -> None:
        """Close what has no end and no process, whoever asks: a run that lives holds the lock, and is let be."""
        if any(each.retraining.ended is None for each in self.read(system)):
            with self.alone(system) as mine:
                if mine:
                    self.close_lost(system, at)

    def begin(self, system: str, started: Started) -> None:
        """Under the lock, before anything else is done: a run that is killed is known to have been."""
        self._append(system, {**vars(started), "at": started.at.isoformat()})

    def end(self, system: str, run_id: str, at: datetime, end: End, said: str = "", version: str = "") -> None:
        """What became of a run; the first to say so is believed."""
        self._append(system, {"run_id": run_id, "ended": at.isoformat(), "end": end, "said": said, "version": version})

    def close(self, system: str, started: Started, at: datetime, end: End, said: str) -> None:
        """What became of a run, by who saw its process end: of one, too, that could not say that it had begun."""
        if all(each.run_id != started.run_id for each in self.read(system)):
            self.begin(system, started)
        self.end(system, started.run_id, at, end, said)

    def read(self, system: str) -> list[Kept]:
        """All runs, oldest first."""
        found: dict[str, Kept] = {}
        for line in json_lines.read(self._folder / f"{system}.jsonl"):
            if "end" not in line:
                begun = Retraining(datetime.fromisoformat(line["at"]), automatic=bool(line["alarm"]))
                found[line["run_id"]] = Kept(line["run_id"], line["reason"], line["alarm"], begun)
            elif (kept := found.get(line["run_id"])) and kept.retraining.ended is None:
                found[line["run_id"]] = _ended(kept, line)
        return list(found.values())

    def _append(self, system: str, line: dict[str, Any]) -> None:
        json_lines.append(self._folder / f"{system}.jsonl", line)


def _ended(kept: Kept, line: dict[str, Any]) -> Kept:
    run = replace(kept.retraining, ended=datetime.fromisoformat(line["ended"]), end=line["end"])
    return replace(kept, retraining=run, said=line["said"], version=line["version"])
