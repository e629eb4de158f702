"""Settings of a stack that a benchmark or a test has to itself: its own folder, ports that nothing else listens on."""

import socket
from pathlib import Path
from typing import Any

from infra.settings import Settings

PORTS = tuple(name for name in Settings.model_fields if name.endswith("_port"))


def settings_in(folder: Path, **given: Any) -> Settings:
    """Settings of a stack that lives in `folder` and collides with no other; `given` ones come on top."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    return Settings.model_validate({"state_dir": folder, **ports, **given})


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now; all are held until the last is known, so that no two are the same."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
