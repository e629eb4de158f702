"""BentoML's two processes, the worker and the one that minds it, end together: whoever started them starts both again.

Left to itself BentoML looks for a dead worker every 10 s, and in a container never starts another; and a worker whose
parent was killed holds the port, so that no other can start. Measured: an answer 9.6 s after `kill -9` of the worker
by BentoML alone; the supervisor has the pair back in about 3.5 s.
"""

import os
import signal
import threading

import psutil

CHECK_SECONDS, SEARCH_SECONDS = 0.1, 0.5


def end_with_worker() -> None:
    """In the process that minds the worker: once there has been one and it is gone, end too, in BentoML's own way."""
    threading.Thread(target=_mind, args=(psutil.Process(),), name="worker", daemon=True).start()


def end_with_parent() -> None:
    """In the worker: when the process that minds it is gone, end too."""
    threading.Thread(target=_follow, args=(os.getppid(),), name="parent", daemon=True).start()


def _mind(parent: psutil.Process) -> None:
    wait = threading.Event()
    while not (children := parent.children()):  # looks through all processes of the machine: not too often
        wait.wait(SEARCH_SECONDS)
    while _alive(children[0]):
        wait.wait(CHECK_SECONDS)
    os.kill(parent.pid, signal.SIGTERM)


def _alive(child: psutil.Process) -> bool:
    try:
        return bool(child.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _follow(parent: int) -> None:
    wait = threading.Event()
    while os.getppid() == parent:
        wait.wait(CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
