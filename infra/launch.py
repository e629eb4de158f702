"""Becomes a program of the stack: `launch.py PARENT NICE COMMAND…`, run by its path and with nothing imported.

On Linux the program is told to end when its supervisor dies, however it dies. That is asked for between fork and exec,
and Python's own hook for this moment (`preexec_fn`) can lock up a process that has threads; so this runs in between.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
AUTOGROUP = "/proc/self/autogroup"
TRIES = 50  # the kernel lets anyone but root set one a tenth of a second, on the whole machine


def main(parent: int, nice: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)
    _let_others_first(nice)
    try:
        os.execvp(command[0], command)  # noqa: S606  # the stack's own command line
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


def _let_others_first(nice: int) -> None:
    """Within its session, and as a session among others: Linux weighs these against each other first (sched(7))."""
    os.nice(nice)
    for _ in range(TRIES if nice else 0):
        try:
            group = os.open(AUTOGROUP, os.O_WRONLY)
        except OSError:  # a kernel that weighs processes alone, or a /proc that may not be written to
            return
        try:
            os.write(group, str(nice).encode())
        except BlockingIOError:
            time.sleep(0.1)
        else:
            return
        finally:
            os.close(group)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
