"""Becomes a program of the stack: `launch.py PARENT NICE COMMAND…`, run by its path and with nothing imported.

On Linux the program is told to end when its supervisor dies, however it dies. That is asked for between fork and exec,
and Python's own hook for this moment (`preexec_fn`) can lock up a process that has threads; so this runs in between.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, nice: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)
    os.nice(nice)
    try:
        os.execvp(command[0], command)  # noqa: S606  # the stack's own command line
    except OSError as error:
        sys.exit(f"{command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
