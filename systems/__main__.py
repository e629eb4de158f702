"""`python -m systems`: what to mend, by system, as one JSON object; null for a system that loads."""

import json
import sys

import systems
from contracts.errors import BrokenSystem


def fault(name: str) -> str | None:
    """What to mend in a system."""
    try:
        systems.load(name)
    except BrokenSystem as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: fault(name) for name in systems.names()}) + "\n")
