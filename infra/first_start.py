"""What a stack of containers needs before its first start: secrets, volumes, and the clock if it is to run fast.

`python -m infra.first_start` runs to its end before any other service, with the volumes of all of them at hand and no
network. Run again it changes nothing. Each service's folder gets the secrets that it has to know and no others; each
folder is a volume that only this job and that service mount.
"""

import logging
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contracts.errors import FlywheelError, SetupError
from infra.clock import CLOCK_FILE, write_clock
from infra.settings import Settings, write_secret

KNOWS: Mapping[str, tuple[str, ...]] = {  # service → the secrets it has to know
    "clients": ("api_key",),
    "console": ("api_key",),
    "features-redis": ("features_redis_password",),
    "gateway": ("api_key", "features_redis_password", "log_redis_password"),
    "log-redis": ("log_redis_password",),
    "mlflow": ("mlflow_database_password",),
    "postgres": ("postgres_password", "mlflow_database_password", "prefect_database_password"),
    "prefect": ("prefect_database_password",),
    "recorder": ("log_redis_password",),
    "serving": ("log_redis_password",),
    "worker": ("features_redis_password",),
}
VENDORS = frozenset({"features-redis", "log-redis", "postgres"})  # their images have a user of their own
REDIS_CONF = "redis.conf"  # Redis takes its password from a file or from a command line that all can read
OPEN_TO_ALL, OPEN_TO_OWNER = 0o444, 0o400
STICKY = 0o1777  # a volume that a vendor's user writes to: what is inside belongs to who made it
LOG = logging.getLogger("flywheel.first_start")


@dataclass(frozen=True)
class Places:
    """Where the volumes are mounted in this job."""

    secrets: Path = Path("/secrets")
    volumes: Path = Path("/volumes")


def prepare(settings: Settings, places: Places) -> None:
    """Everything, each part only as far as it is not there; raises SetupError when copies of a secret differ."""
    made = share_secrets(places.secrets)
    LOG.info("%s", f"made {made} secrets" if made else "the secrets are there")
    for volume in sorted(places.volumes.iterdir()):
        if volume.stat().st_mode & 0o7777 != STICKY:
            volume.chmod(STICKY)
    if start_clock(settings, datetime.now(UTC)):
        LOG.info("the clock starts %g h ago, %g times as fast", settings.clock_lead_hours, settings.clock_speed)


def share_secrets(folder: Path) -> int:
    """Give each service the secrets it knows: how many had to be made."""
    names = sorted({name for known in KNOWS.values() for name in known})
    return sum(_share(folder, name) for name in names)


def start_clock(settings: Settings, now: datetime) -> bool:
    """Set a fast clock going, once in the life of the volume that keeps it; whether this was the time."""
    path = settings.path("clock", CLOCK_FILE)
    if settings.clock_speed == 1 or path.exists():
        return False
    write_clock(path, now - timedelta(hours=settings.clock_lead_hours), settings.clock_speed)
    return True


def _share(folder: Path, name: str) -> bool:
    services = [service for service, known in KNOWS.items() if name in known]
    found = {value for service in services if (value := _read(folder / service / name))}
    if len(found) > 1:
        raise SetupError(
            f"The services {', '.join(services)} hold different copies of {name}; delete the one volume that is wrong."
        )
    secret = next(iter(found), None) or secrets.token_urlsafe(32)
    for service in services:
        mode = OPEN_TO_ALL if service in VENDORS else OPEN_TO_OWNER
        write_secret(folder / service / name, secret, mode)
        if service.endswith("-redis"):
            write_secret(folder / service / REDIS_CONF, f"requirepass {secret}\n", mode)
    return not found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def main() -> int:
    """Prepare, or say in one sentence why that is not possible."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    try:
        prepare(Settings.load(), Places())
    except FlywheelError as error:
        LOG.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
