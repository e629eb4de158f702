"""One hierarchy of errors. Each message is one sentence that names the thing, the value and what would be right."""


class FlywheelError(Exception):
    """Anything the platform refuses or cannot do, said in one sentence for its user."""


class InvalidInput(FlywheelError):
    """The caller's data cannot be used; `field` names the part of it, when one can be named."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotFound(FlywheelError):
    """The thing named does not exist."""


class UnknownSystem(NotFound):
    """No folder in systems/ has that name."""


class BrokenSystem(FlywheelError):
    """A system's folder is there and cannot be loaded; the message names it and what to mend."""


class Conflict(FlywheelError):
    """The same idempotency key came with another body, or its first request is still being answered."""


class Unavailable(FlywheelError):
    """A part that the caller needs is down, hangs or has nothing to answer with yet; trying again may help."""


class NoChampion(Unavailable):
    """Serving answers, and has no model of the system to answer with."""


class CorruptModel(FlywheelError):
    """A model's bytes are not the ones that were registered."""


class RefusedCandidate(FlywheelError):
    """The gate did not let a candidate model become champion."""


class SetupError(FlywheelError):
    """The machine or the settings lack something; the message says what to do about it."""
