"""What can be known to go wrong before anything is started, each in one sentence that says what to do."""

import errno
import socket
import sys
from collections.abc import Iterable
from importlib.util import find_spec

import psutil

from contracts.errors import SetupError
from infra.components import Component


def check(components: Iterable[Component], host: str) -> None:
    """Raises SetupError for the first part that is missing, port that is taken, or port given twice."""
    ports: dict[int, Component] = {}
    for component in components:
        _check_program(component)
        if not component.port:
            continue
        if other := ports.get(component.port):
            raise SetupError(
                f"{other.variable} and {component.variable} are both {component.port}; give each a port of its own."
            )
        ports[component.port] = component
        if taken := port_fault(component, host):
            raise SetupError(taken)


def port_fault(component: Component, host: str) -> str:
    """Why the component cannot have its port, and what to do about it; empty when it can."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, component.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                f"Port {component.port}, which {component.name} needs, is taken by {_holder(component.port)}; "
                f"stop that, or set {component.variable} to a free port."
            )
        if error.errno == errno.EACCES:
            return f"Port {component.port} for {component.name} is not allowed; set {component.variable} above 1023."
        return f"FLYWHEEL_HOST={host} is no address that {component.name} can bind: {error.strerror or error}."
    return ""


def _check_program(component: Component) -> None:
    program, *rest = component.command
    if program != sys.executable or rest[:1] != ["-m"]:
        return
    package = rest[1].partition(".")[0]
    if find_spec(package) is None:
        raise SetupError(f"{component.name} needs the Python package {package}, which is missing; run `make setup`.")


def _holder(port: int) -> str:
    """Who listens there, as far as this user may know."""
    try:
        pids = [
            one.pid
            for one in psutil.net_connections("tcp")
            if one.laddr and one.laddr.port == port and one.status == psutil.CONN_LISTEN and one.pid
        ]
        return f"{psutil.Process(pids[0]).name()} (pid {pids[0]})" if pids else "another program"
    except psutil.Error:
        return "another program"
