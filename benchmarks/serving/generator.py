"""`python -m benchmarks.serving.generator`: the load, from a process of its own; a `Load` in JSON in, a `Found` out.

It shares the cores with what it measures, so it does as little as a client can: it speaks just as much HTTP as the
three contenders answer with, kept-alive connections and a Content-Length each.
"""

import gc
import json
import select
import selectors
import socket
import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.load import Found, Load

PATIENCE = 5.0  # seconds that what is under way at the end is waited for
READ = bytearray(1 << 16)  # what came last; a new buffer for each read would be new memory for the kernel to clear
SCHEDULED = Path("/proc/self/schedstat")  # Linux
ID = slice(len('{"prediction_id":"'), len('{"prediction_id":"') + 32)


class Due(NamedTuple):
    """A request whose moment has come, and whether a connection was free for it."""

    moment: float
    free: bool


class Connection:
    """One kept-alive connection, which carries one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._received = b""
        self._length = 0  # of the whole answer, once its head is there

    def send(self, request: bytes, due: float) -> None:
        self.due, self._received, self._length = due, b"", 0
        self.socket.sendall(request)

    def answer(self) -> bytes | None:
        """What has come, once it is whole; ConnectionError when the other side has closed."""
        count = self.socket.recv_into(READ)
        if not count:
            raise ConnectionResetError("the server closed the connection")
        self._received += READ[:count]
        if not self._length:
            self._length = _length(self._received)
        return self._received if self._length and len(self._received) >= self._length else None


class Generator:
    """One load, from its first request to its last answer."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self._requests = _requests(load)
        self._selector = selectors.DefaultSelector()
        self._whole = load.whole.encode()
        self._busy: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        for _ in range(load.connections):
            self._open()
        self._waited: list[float] = []
        self._late: list[float] = []
        self._errors: Counter[str] = Counter()
        self._ids: list[bytes] = []
        self._answered = self._due = 0
        self._last = 0.0

    def run(self) -> Found:
        """Send all of it, and say what came back."""
        gc.disable()  # nothing that is kept until the end has cycles
        processor, queued, start = process_time(), _queued(), perf_counter()
        self._last = start
        if self.load.rate is None:
            self._closed(start + self.load.seconds)
        else:
            self._arrivals(start, _moments(self.load))
        self._give_up()
        passed = perf_counter() - start
        if self.load.ids:
            with Path(self.load.ids).open("ab") as file:
                file.write(b"".join(one + b"\n" for one in self._ids))
        return self._found(start, (process_time() - processor) / passed, (_queued() - queued) / passed)

    def _closed(self, end: float) -> None:
        while (now := perf_counter()) < end:
            while self._idle:
                self._send(Due(perf_counter(), False))
            self._take(end - now)
        self._drain()

    def _arrivals(self, start: float, moments: NDArray[np.float64]) -> None:
        """Requests at their moments; those that find no free connection wait for one, and their latency runs."""
        coming, waiting = deque((start + moments).tolist()), deque[Due]()
        end = start + self.load.seconds + PATIENCE
        while (coming or waiting) and (now := perf_counter()) < end:
            while coming and coming[0] <= now:
                waiting.append(Due(coming.popleft(), len(self._idle) > len(waiting)))
            while waiting and self._idle:
                self._send(waiting.popleft())
            ahead = coming[0] - perf_counter() if coming else PATIENCE
            self._take(min(ahead, PATIENCE))
        self._drain()
        for due in waiting:
            self._fail("no free connection", due.moment)

    def _drain(self) -> None:
        end = perf_counter() + PATIENCE
        while self._busy and (left := end - perf_counter()) > 0:
            self._take(left)

    def _give_up(self) -> None:
        for connection in self._busy:
            self._fail("no answer", connection.due)

    def _send(self, due: Due) -> None:
        connection, request = self._idle.popleft(), next(self._requests)
        if due.free:
            self._late.append(perf_counter() - due.moment)
        try:
            connection.send(request, due.moment)
            self._busy.add(connection)
        except OSError as error:
            self._fail(type(error).__name__, due.moment)
            self._replace(connection)

    def _take(self, seconds: float) -> None:
        """Answers that have come, after a wait for the first of at most so long.

        A selector waits in milliseconds; select() does in microseconds, and the selector itself can be waited for.
        """
        ready, _, _ = select.select([self._selector], [], [], max(0.0, seconds))
        for key, _ in self._selector.select(0) if ready else ():
            connection: Connection = key.data
            try:
                answer = connection.answer()
            except OSError as error:
                if connection in self._busy:
                    self._fail(type(error).__name__, connection.due)
                self._replace(connection)
                continue
            if answer is not None:
                self._took(connection, answer)

    def _took(self, connection: Connection, answer: bytes) -> None:
        now = self._last = perf_counter()
        self._busy.discard(connection)
        self._idle.append(connection)
        self._due += 1
        self._waited.append(now - connection.due)
        if answer[9:12] != b"200":
            self._errors[f"status {answer[9:12].decode()}"] += 1
        elif self._whole not in answer:
            self._errors["not whole"] += 1
        else:
            self._answered += 1
        if self.load.ids and answer[9:12] == b"200":
            self._ids.append(answer[answer.index(b"\r\n\r\n") + 4 :][ID])

    def _replace(self, connection: Connection) -> None:
        """A connection that failed makes room for a new one."""
        self._busy.discard(connection)
        with suppress(ValueError):
            self._idle.remove(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self._open()

    def _open(self) -> None:
        connection = Connection(self.load.host, self.load.port)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        self._idle.append(connection)

    def _fail(self, kind: str, due: float) -> None:
        self._due += 1
        self._errors[kind] += 1
        self._waited.append(perf_counter() - due)

    def _found(self, start: float, busy: float, starved: float) -> Found:
        p50, p99, p999, longest = _percentiles(self._waited, (50, 99, 99.9, 100))
        return Found(
            due=self._due,
            answered=self._answered,
            errors=dict(self._errors),
            seconds=self._last - start,
            p50=p50,
            p99=p99,
            p999=p999,
            longest=longest,
            late_p99=_percentiles(self._late, (99,))[0],
            busy=busy,
            starved=starved,
        )


def _requests(load: Load) -> Iterator[bytes]:
    """Whole requests, for ever: every body in turn, in an order of the seed's."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in load.headers.items())
    head = f"POST {load.path} HTTP/1.1\r\nHost: {load.host}:{load.port}\r\nContent-Type: application/json\r\n{headers}"
    made = [
        f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        for body in Path(load.bodies).read_bytes().splitlines()
    ]
    order = np.random.default_rng([load.seed, 1]).permutation(len(made)).tolist()
    while True:
        for place in order:
            yield made[place]


def _moments(load: Load) -> NDArray[np.float64]:
    """Seconds from the start at which requests are due: a Poisson process of the load's rate."""
    rate = load.rate or 0.0
    random = np.random.default_rng([load.seed, 2])
    count = int(rate * load.seconds + 10 * (rate * load.seconds) ** 0.5) + 10
    moments = np.cumsum(random.exponential(1 / rate, count))
    return moments[moments < load.seconds]


def _length(received: bytes) -> int:
    """Bytes of the whole answer, by its Content-Length; 0 while its head is not whole."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = received[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise ConnectionError("an answer without a Content-Length")
    return end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])


def _percentiles(seconds: list[float], shares: tuple[float, ...]) -> list[float]:
    """In milliseconds, by nearest rank; NaN of nothing."""
    if not seconds:
        return [float("nan")] * len(shares)
    found: list[float] = np.percentile(np.array(seconds) * 1e3, shares, method="inverted_cdf").tolist()
    return found


def _queued() -> float:
    """Seconds that this process had work and no processor to do it on; 0.0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(SCHEDULED.read_text().split()[1]) / 1e9  # ran, waited, times
    return 0.0


def main() -> None:
    """Carry out the load on the standard input."""
    found = Generator(Load(**json.loads(sys.stdin.read()))).run()
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
