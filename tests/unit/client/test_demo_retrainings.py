"""The demo follows the retraining that its alarm started, and not the one that was skipped beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from contracts.records import RunState
from services.client.retrainings import Retrainings

SINCE = datetime(2026, 3, 15, tzinfo=UTC)


@dataclass
class Prefect:
    """Runs by what they said last, newest first."""

    said: dict[str, str] = field(default_factory=dict)

    def runs(self, deployment: str, system: str, since: datetime) -> Sequence[RunState]:
        return [self.state(run_id) for run_id in reversed(self.said)]

    def state(self, run_id: str) -> RunState:
        return RunState(run_id, run_id, "completed", self.said[run_id])


def test_each_run_is_looked_at_once_the_oldest_first() -> None:
    prefect = Prefect({"first": "", "second": ""})
    runs = Retrainings(prefect, "ad_click", SINCE)  # type: ignore[arg-type]  # half of the port
    assert [runs.next(), runs.next(), runs.next()] == ["first", "second", None]
    prefect.said["third"] = ""
    assert runs.next() == "third"


def test_of_two_alarms_at_once_the_run_that_was_not_skipped_counts() -> None:
    prefect = Prefect({"first": "Skipped: No retraining of ad_click: another one is under way.", "second": ""})
    runs = Retrainings(prefect, "ad_click", SINCE)  # type: ignore[arg-type]  # half of the port
    assert [runs.next(), runs.next()] == ["second", None]
    assert runs.skipped("first")


def test_a_run_that_turns_out_to_be_skipped_leads_to_the_other() -> None:
    prefect = Prefect({"first": "", "second": ""})
    runs = Retrainings(prefect, "ad_click", SINCE)  # type: ignore[arg-type]  # half of the port
    following = runs.next()
    assert following == "first"
    prefect.said["first"] = "Skipped: No retraining of ad_click: another one is under way."
    assert runs.skipped(following)
    assert runs.next() == "second"
