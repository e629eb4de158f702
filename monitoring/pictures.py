"""When Evidently draws a window: once an hour of the platform's time. The monitor looks more often; a report of every
look would cost more than the looks, and in the 720 snapshots that are kept there would be a week and not a month."""

from datetime import datetime, timedelta
from pathlib import Path

EVERY = timedelta(hours=1)


def due(mark: Path, until: datetime) -> bool:
    """Whether a window that ends at `until` is to be drawn, by the mark that the last one left."""
    try:
        last = datetime.fromisoformat(mark.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return True
    return not timedelta(0) <= until - last < EVERY  # a clock that was set back does not stop the pictures


def drawn(mark: Path, until: datetime) -> None:
    """Leave the mark of a window that was drawn."""
    mark.write_text(until.isoformat(), encoding="ascii")
