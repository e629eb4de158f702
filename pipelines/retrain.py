"""The retrain pipeline: the loop's return path. Log → ingest → materialize → train → promote, in one run.

An alarm starts it, by an automation of Prefect or by the flow runner's poll, and may come twice, late or in bursts. So
the run asks once more when it is alone: nothing runs beside it, and no alarm that is answered, or comes in the cooldown
or over the daily budget, starts anything. The lock is the kernel's (it ends with the process, however that dies: a
limit kept by Prefect would stay taken).
"""

from datetime import datetime

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

import systems
from contracts.errors import RefusedCandidate
from contracts.system import System
from infra import wiring
from infra.alarms import alarm_of
from infra.retrain_policy import History, Rules, hindrance
from infra.retrainings import Retrainings, Started
from infra.settings import Settings
from pipelines import ingest, materialize, promote, train
from pipelines.deployments import REFUSED, SKIPPED


@flow(name="retrain")
def retrain(system: str, reason: str = "manual", alarm: str = "") -> State[str]:
    """Bring in the log, train on what there is now, and let the gate decide; for an alarm, if nothing holds it up.

    `alarm` is its key. Without one a person asked for the run: only another that is under way holds it up.
    """
    settings, loaded = Settings.load(), systems.load(system)
    runs, run_id = wiring.retrainings(settings), str(flow_run.id)
    with runs.alone(system) as mine:
        if not mine:
            return _skipped(system, f"another one is under way{_since(runs, system)}.")
        now = wiring.clock(settings).now()
        runs.close_lost(system, now)
        if alarm and (held := held_up(settings, loaded, alarm, now)):
            return _skipped(system, held)
        runs.begin(system, Started(run_id, now, reason, alarm))
        return _run(settings, loaded, runs, run_id, reason)


def held_up(settings: Settings, system: System, alarm: str, now: datetime) -> str | None:
    """What keeps a run from starting for an alarm, in words; None when nothing does. InvalidInput for no key of one."""
    champion = wiring.registry(settings).resolve(system.name, promote.CHAMPION)
    past = [each.retraining for each in wiring.retrainings(settings).read(system.name)]
    history = History([], past, champion.version if champion else "")
    found = hindrance(alarm_of(alarm, ""), history, Rules.of(system.monitoring), now)
    return found.words if found else None


def _skipped(system: str, why: str) -> State[str]:
    return Completed(name=SKIPPED, message=f"No retraining of {system}: {why}", data=SKIPPED)


def _since(runs: Retrainings, system: str) -> str:
    under_way = [each for each in runs.read(system) if each.retraining.ended is None]
    return f" since {under_way[-1].retraining.started:%Y-%m-%d %H:%M} UTC ({under_way[-1].reason})" if under_way else ""


def _run(settings: Settings, system: System, runs: Retrainings, run_id: str, reason: str) -> State[str]:
    """All stages, and what became of them is written down; of a process that is killed its silence tells."""
    name, say, clock = system.name, get_run_logger().info, wiring.clock(settings)
    version = ""
    say(f"retraining {name}: {reason}")
    try:
        ingest.run(settings, system, None, say)
        materialize.run(settings, system, clock.now(), say)
        version = train.run(settings, system, "auto", reason, say).version
        promote.run(settings, system, version, say)
    except RefusedCandidate as refusal:
        runs.end(name, run_id, clock.now(), "refused", str(refusal), version)
        return Completed(name=REFUSED, message=str(refusal), data=REFUSED)
    except Exception as error:
        runs.end(name, run_id, clock.now(), "failed", str(error), version)
        raise
    said = f"{name} version {version} is champion."
    runs.end(name, run_id, clock.now(), "promoted", said, version)
    return Completed(message=said, data=version)
