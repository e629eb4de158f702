"""A Redis server of a test's own, to be taken down and brought back."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from infra import redis_server
from infra.settings import Settings
from tests.conftest import answers, poll


@contextmanager
def running(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The server of these settings, with what it wrote before; it answers when the block starts and is gone after."""
    with subprocess.Popen(redis_server.command(settings), stdout=subprocess.DEVNULL) as server:
        try:
            poll(lambda: answers(settings.redis), what="Redis")
            yield server
        finally:
            server.terminate()
