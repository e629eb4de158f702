"""Parts of a judgement that may fail and take no other down: what was found goes into the verdict, and the run fails
only after that, so that a fault is neither hidden nor costs the alarm of another part."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from contracts.errors import FlywheelError

T = TypeVar("T")


@dataclass
class Attempts:
    """What a run tries, part by part."""

    say: Callable[[str], None]
    faults: list[Exception] = field(default_factory=list)  # what nobody expected

    def at(self, what: str, part: Callable[[], T], without: Callable[[str], T]) -> T:
        """What `part` gives; where it cannot, why is said, and what `without` makes of that is given instead."""
        try:
            return part()
        except FlywheelError as refusal:
            words = str(refusal)
        except Exception as fault:  # raised again at the end
            self.faults.append(fault)
            words = f"{type(fault).__name__}: {fault}"
        self.say(f"{what} cannot be told: {words}")
        return without(words)

    def close(self) -> None:
        """Raise what nobody expected, all of it."""
        if self.faults:
            raise ExceptionGroup(
                "Parts of this window could not be judged; what could be is in the verdict.", self.faults
            )
