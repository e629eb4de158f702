"""From a verdict to an event: what the policy decides on it, and how Prefect hears of it.

The verdict is on the disk whatever becomes of the event: where that is lost, the flow runner's poll finds the verdict
and starts the run. So an event that cannot be sent is said, and nothing else.
"""

from collections.abc import Callable

from contracts.errors import FlywheelError
from contracts.records import ModelVersion, Verdict
from contracts.system import System
from infra import wiring
from infra.alarms import Cause
from infra.retrain_policy import Decision, History, Rules, decide
from infra.settings import Settings

RETRAIN_DUE = "flywheel.retrain.due"  # pipelines/deployments.py waits for it


def decided(settings: Settings, system: System, champion: ModelVersion, newest: Verdict) -> Decision:
    """What the policy says, by the verdicts and the runs that are kept and this newest verdict."""
    verdicts = [*wiring.verdicts(settings).read(system.name), newest]
    runs = [each.retraining for each in wiring.retrainings(settings).read(system.name)]
    return decide(History(verdicts, runs, champion.version), Rules.of(system.monitoring), newest.at)


def announce(settings: Settings, decision: Decision, verdict: Verdict, say: Callable[[str], None]) -> None:
    """Emit the event that starts a retraining, if one is due."""
    if not decision.retrain or decision.alarm is None:
        return
    alarm = decision.alarm
    payload = {"reason": f"{alarm.words} {reason(alarm.cause, verdict)}", "alarm": alarm.key}
    try:
        wiring.dispatcher(settings).emit(RETRAIN_DUE, verdict.system, payload)
    except FlywheelError as error:
        say(f"The event of this alarm was not sent: {error} The flow runner's poll starts the retraining.")


def reason(cause: Cause, verdict: Verdict) -> str:
    """The figures behind an alarm."""
    if cause == "drift":
        return verdict.drift_words
    if verdict.harmed:
        return (
            f"Log loss {verdict.loss:.4f} on {verdict.labelled_rows:,} matured rows, where a model as good as it was "
            f"on its hold-out would lose {verdict.reference_loss:.4f}."
        )
    since = f" The change seems to lie at {verdict.concept_since:%Y-%m-%d %H:%M} UTC." if verdict.concept_since else ""
    return (
        f"Evidence {verdict.concept_evidence:.2f} over {verdict.concept_labels:,} labelled predictions, an alarm from "
        f"{verdict.concept_threshold:.2f} on.{since}"
    )
