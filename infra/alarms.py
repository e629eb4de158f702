"""What asks for a retraining, and the key by which whoever reads of it knows it again."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from contracts.errors import InvalidInput

Cause = Literal["harm", "drift"]

KEY_TIME = "%Y%m%dT%H%M%S.%f"
KEY = re.compile(r"(?P<cause>harm|drift)-(?P<version>.+)-(?P<at>\d{8}T\d{6}\.\d{6})")


@dataclass(frozen=True)
class Alarm:
    """What asks for a retraining: `at` is the time of the newest verdict that it rests on."""

    cause: Cause
    at: datetime
    model_version: str
    words: str

    @property
    def key(self) -> str:
        """The same for the same alarm, whoever reads it out of the verdicts."""
        return f"{self.cause}-{self.model_version}-{self.at.astimezone(UTC):{KEY_TIME}}"


def alarm_of(key: str, words: str) -> Alarm:
    """The alarm of a key: what an event or a poll hands to a run, which knows no verdicts. InvalidInput for no key."""
    found = KEY.fullmatch(key)
    if not found:
        raise InvalidInput(f"{key!r} is no alarm's key; one is harm-3-20260315T120000.000000.", "alarm")
    cause: Cause = "harm" if found["cause"] == "harm" else "drift"
    return Alarm(cause, datetime.strptime(found["at"], KEY_TIME).replace(tzinfo=UTC), found["version"], words)
