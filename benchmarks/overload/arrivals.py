"""`python -m benchmarks.overload.arrivals`: the serving benchmark's generator, which notes every answer by itself.

An `Order` in JSON in; the answers in a file of NumPy's, one row each, as `COLUMNS` names them.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.generator import Connection, Due, Generator
from benchmarks.serving.load import Load
from benchmarks.serving.runs import ordered

COLUMNS = ("due", "sent", "ended", "status", "whole", "retry_after")  # seconds of the monotonic clock; 1.0 for yes
NO_ANSWER = 0.0  # the status of a request that none came for


@dataclass(frozen=True)
class Answers:
    """What became of every request that was due, in the order in which that was known; one array each."""

    due: NDArray[np.float64]
    sent: NDArray[np.float64]
    ended: NDArray[np.float64]
    status: NDArray[np.float64]
    whole: NDArray[np.float64]
    retry_after: NDArray[np.float64]

    @property
    def waited(self) -> NDArray[np.float64]:
        """Milliseconds from when a request was due."""
        return (self.ended - self.due) * 1e3


class Noting(Generator):
    """The generator, with a row for each request, which is read when all is over: meanwhile it takes from the others'
    processors."""

    def __init__(self, load: Load) -> None:
        self._noted: list[tuple[float, float, float, bytes]] = []  # due, sent, ended, answer
        self._sent: dict[Connection, float] = {}
        super().__init__(load)

    @property
    def rows(self) -> NDArray[np.float64]:
        """What became of each request, as `COLUMNS` names it."""
        rows = [self._row(*each) for each in self._noted]
        return np.array(rows, dtype=np.float64).reshape(-1, len(COLUMNS))

    def _send(self, due: Due) -> None:
        self._sent[self._idle[0]] = perf_counter()
        super()._send(due)

    def _took(self, connection: Connection, answer: bytes) -> None:
        self._last = perf_counter()
        self._busy.discard(connection)
        self._idle.append(connection)
        self._noted.append((connection.due, self._sent[connection], self._last, answer))

    def _fail(self, kind: str, due: float) -> None:
        super()._fail(kind, due)
        self._noted.append((due, due, perf_counter(), b""))

    def _row(self, due: float, sent: float, ended: float, answer: bytes) -> tuple[float, ...]:
        status = float(answer[9:12]) if answer else NO_ANSWER
        whole, retry = status == 200 and self._whole in answer, b"\r\nretry-after:" in answer.lower()
        return due, sent, ended, status, float(whole), float(retry)


def answered(load: Load, path: Path) -> Answers:
    """What a process of its own sees that carries out the load; `path` is the file between the two."""
    ordered("benchmarks.overload.arrivals", {"load": asdict(load), "path": str(path)})
    return Answers(*np.load(path).T)


def main() -> None:
    """Carry out the order on the standard input."""
    order = json.loads(sys.stdin.read())
    generator = Noting(Load(**order["load"]))
    generator.run()
    np.save(order["path"], generator.rows)


if __name__ == "__main__":
    main()
