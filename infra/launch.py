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
AUTOGROUP, CGROUP = "/proc/self/autogroup", "/proc/self/cgroup"
AUTOGROUPS = "/proc/sys/kernel/sched_autogroup_enabled"
GROUPS = "/sys/fs/cgroup"  # where control groups of version 2 are
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
    """Within its session, and as a session among others: Linux weighs these against each other first (sched(7)).

    Where it does, the program also counts as idle (SCHED_IDLE), its session's weight being as before: what a request
    wakes then takes the processor on which the program runs, and waits for no other request on another one.
    """
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
            if _sessions_are_weighed():
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            return
        finally:
            os.close(group)


def _sessions_are_weighed() -> bool:
    """Whether that is so here: not where it is turned off, nor in a control group with a weight of its own, in which an
    idle program would be left what nobody else wants."""
    with open(AUTOGROUPS) as file:  # noqa: PTH123  # nothing is imported here
        if file.read().strip() != "1":
            return False
    with open(CGROUP) as file:  # noqa: PTH123
        groups = [line.rstrip("\n").split(":", 2)[1:] for line in file]
    weighed = (f"{GROUPS}{path}/cpu.weight" for controllers, path in groups if not controllers)
    held = any("cpu" in controllers.split(",") and path != "/" for controllers, path in groups)
    return not held and not any(map(os.path.exists, weighed))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
