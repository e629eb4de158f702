"""When to retrain: the stretch of the loop between a verdict and a run of `retrain`, as pure functions over history.

All times are the platform's, and `now` is an argument. The same functions serve whoever decides (`decide`), whoever
looks for what was decided and never done (`reconcile`), and the run itself, which asks once more when it holds the lock
(`hindrance`): so an event that comes twice, late, or together with a poll starts one run.

Evidence counts for the champion that serves now, for `Rules.windows_remembered` windows, and until a run that started
after it has ended with a judgement. A run that failed or was killed has answered nothing: its alarm stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from contracts.records import Verdict
from contracts.system import Monitoring
from infra.alarms import Alarm

End = Literal["promoted", "refused", "cancelled", "failed", "died"]
Why = Literal["harm", "drift", "running", "cooldown", "budget", "answered", "steady", "unknown"]

UNFINISHED: tuple[End, ...] = ("failed", "died")  # ends that no person and no gate chose: worth another try
DAY = timedelta(days=1)
LONGEST_PATIENCE = 7 * DAY  # to which the cooldown of drift grows while the gate refuses what drift asked for
MOST_DOUBLINGS = 20  # a span doubled so often is longer than any that is waited


@dataclass(frozen=True)
class Rules:
    """What a system allows. `window` is the span of served rows that one verdict on drift is about."""

    window: timedelta
    cooldown: timedelta  # from the end of a run until the next may start by itself
    daily_budget: int = 4  # runs that start by themselves within any 24 hours, whatever becomes of them
    retry: timedelta = timedelta(minutes=10)  # after a run that failed or was killed; it doubles, up to the cooldown
    windows: int = 3  # of the last so many windows that say anything about drift …
    sustained: int = 2  # … so many must have drifted
    windows_remembered: int = 6  # evidence that is older counts no more

    @classmethod
    def of(cls, monitoring: Monitoring) -> "Rules":
        """What a system's step 7 says."""
        return cls(monitoring.window, monitoring.cooldown, monitoring.daily_budget)


@dataclass(frozen=True)
class Retraining:
    """A run of `retrain`. Without `ended` it is under way, or waits for a worker; skipped ones are none."""

    started: datetime
    ended: datetime | None = None
    end: End | None = None
    automatic: bool = True  # not started by a person

    @property
    def finished(self) -> bool:
        """Whether it came to a judgement, or a person ended it."""
        return self.end is not None and self.end not in UNFINISHED


@dataclass(frozen=True)
class History:
    """All that a decision rests on: verdicts and runs of one system in any order, and the version that is champion."""

    verdicts: Sequence[Verdict]
    runs: Sequence[Retraining]
    champion: str


@dataclass(frozen=True)
class Decision:
    """Retrain or not, and why. `alarm` asks for it, though perhaps no run may start before `until`."""

    why: Why
    words: str
    alarm: Alarm | None = None
    until: datetime | None = None

    @property
    def retrain(self) -> bool:
        return self.why in ("harm", "drift")


@dataclass(frozen=True)
class Reconciliation:
    """Alarms that called for a run and got none, oldest first, and the one to start a run for now, if any."""

    missed: tuple[Alarm, ...]
    start: Alarm | None
    words: str


def decide(history: History, rules: Rules, now: datetime) -> Decision:
    """Whether to retrain now: on harm, else on sustained drift, if no hindrance stands against it."""
    evidence = _evidence(history, rules, now)
    alarms = [each for each in (_harm(evidence), _drift(evidence, rules)) if each is not None]
    waiting = [each for each in alarms if not _answered(each, history)]
    if not waiting:
        return _calm(evidence, alarms, rules)
    alarm = waiting[0]
    if held := hindrance(alarm, history, rules, now):
        return replace(held, words=f"{alarm.words} No retraining now: {held.words}")
    return Decision(alarm.cause, alarm.words, alarm)


def hindrance(alarm: Alarm, history: History, rules: Rules, now: datetime) -> Decision | None:
    """What keeps a run from starting for an alarm now, None when nothing does; no verdicts are needed for it.

    It is for runs that start by themselves: a person's is held up by nothing but one that is under way.
    """
    if _answered(alarm, history):
        return Decision("answered", "a run or another champion has answered it.", alarm)
    if any(run.ended is None for run in history.runs):
        return Decision("running", "a run is under way.", alarm)
    runs = history.runs
    found = _rest(alarm, runs, rules), _retry(alarm, runs, rules), _budget(alarm, runs, rules, now)
    holding = [(each.until, each) for each in found if each and each.until and each.until > now]
    return max(holding, key=lambda each: each[0])[1] if holding else None


def reconcile(history: History, rules: Rules, now: datetime, grace: timedelta) -> Reconciliation:
    """What was decided, against the runs there are. An alarm that is `grace` old and that no run has answered was
    missed: its event was lost, or its run was. A run starts for what the evidence says now, if that still asks for one.

    `grace` is in the platform's time, as all else: minutes of the machine's times the clock's pace.
    """
    missed = _missed(history, rules, now, grace)
    if not missed:
        return Reconciliation((), None, "Every alarm has been answered.")
    decision = decide(history, rules, now)
    said = f"{_count(len(missed), 'alarm')} without a run since {_time(missed[0].at)}"
    if decision.retrain:
        return Reconciliation(missed, decision.alarm, f"{said}; a run starts for the last. {decision.words}")
    return Reconciliation(missed, None, f"{said}; none is started. {decision.words}")


def _evidence(history: History, rules: Rules, now: datetime) -> list[Verdict]:
    """The verdicts that count."""
    oldest = now - rules.windows_remembered * rules.window
    return [v for v in history.verdicts if v.model_version == history.champion and oldest < v.at <= now]


def _quality(evidence: Sequence[Verdict]) -> Verdict | None:
    """The newest verdict that says whether the champion does harm; of two at one moment the graver."""
    conclusive = [each for each in evidence if each.harm is not None]
    return max(conclusive, key=lambda each: (each.at, bool(each.harm)), default=None)


def _windows(evidence: Sequence[Verdict], rules: Rules) -> list[Verdict]:
    """The last windows with a verdict on drift that share no row, newest first: monitors look more often than a window
    is long, and what two of them saw in the same rows is seen once."""
    conclusive = [each for each in evidence if each.drifted is not None]
    chosen: list[Verdict] = []
    for each in sorted(conclusive, key=lambda each: (each.at, bool(each.drifted)), reverse=True):
        if len(chosen) < rules.windows and (not chosen or each.at <= _begin(chosen[-1], rules)):
            chosen.append(each)
    return chosen


def _begin(verdict: Verdict, rules: Rules) -> datetime:
    """Where its window of served rows begins; a verdict of before this was kept has one as long as they are now."""
    return verdict.served_since or verdict.at - rules.window


def _harm(evidence: Sequence[Verdict]) -> Alarm | None:
    newest = _quality(evidence)
    if newest is None or not newest.harm:
        return None
    what = "quality of version {} fell" if newest.harmed else "concept that version {} learned has drifted"
    words = f"The {what.format(newest.model_version)} (judged at {_time(newest.at)})."
    return Alarm("harm", newest.at, newest.model_version, words)


def _drift(evidence: Sequence[Verdict], rules: Rules) -> Alarm | None:
    windows = _windows(evidence, rules)
    drifted = [each for each in windows if each.drifted]
    if len(drifted) < rules.sustained:
        return None
    newest = drifted[0]
    words = (
        f"The data of version {newest.model_version} drifted in {len(drifted)} of the last {len(windows)} windows that "
        f"had enough rows (the last at {_time(newest.at)})."
    )
    return Alarm("drift", newest.at, newest.model_version, words)


def _answered(alarm: Alarm, history: History) -> bool:
    judged = any(run.finished and run.started >= alarm.at for run in history.runs)
    return judged or alarm.model_version != history.champion


def _calm(evidence: Sequence[Verdict], answered: Sequence[Alarm], rules: Rules) -> Decision:
    """Why nothing asks for a retraining."""
    if answered:
        return Decision("answered", f"{answered[0].words} A retraining has answered it.", answered[0])
    quality, windows = _quality(evidence), _windows(evidence, rules)
    if quality is None and len(windows) < rules.sustained:
        return Decision("unknown", "Too little is known: too few recent windows had enough rows to say anything.")
    held = "quality held" if quality else "too little is known of quality"
    drifted = f"data drifted in {sum(bool(each.drifted) for each in windows)} of {_count(len(windows), 'window')}"
    data = drifted if windows else "too little is known of data drift"
    return Decision("steady", f"Steady, nothing asks for a retraining: {held}; {data}.")


def _rest(alarm: Alarm, runs: Sequence[Retraining], rules: Rules) -> Decision | None:
    """The cooldown after the last run with a judgement. For drift it doubles with each refusal in a row: the reference
    stays, so drift in which the gate sees nothing to gain would ask again for ever. Harm does not wait for that."""
    judged = _ended(runs, finished=True)
    if not judged:
        return None
    refusals = next((number for number, (_, run) in enumerate(judged) if run.end != "refused"), len(judged))
    longer = _doubled(rules.cooldown, refusals if alarm.cause == "drift" else 0, LONGEST_PATIENCE)
    until = judged[0][0] + max(rules.cooldown, longer)
    return Decision(
        "cooldown", f"cooldown until {_time(until)}, for the last run was {judged[0][1].end}.", alarm, until
    )


def _retry(alarm: Alarm, runs: Sequence[Retraining], rules: Rules) -> Decision | None:
    """The wait after runs that failed or were killed, of which none has had a judgement since."""
    judged, failed = _ended(runs, finished=True), _ended(runs, finished=False)
    in_a_row = [at for at, _ in failed if not judged or at > judged[0][0]]
    if not in_a_row:
        return None
    until = in_a_row[0] + _doubled(rules.retry, len(in_a_row) - 1, rules.cooldown)
    words = (
        f"{_count(len(in_a_row), 'run')} failed or died since the last judgement; the next waits until {_time(until)}."
    )
    return Decision("cooldown", words, alarm, until)


def _budget(alarm: Alarm, runs: Sequence[Retraining], rules: Rules, now: datetime) -> Decision | None:
    starts = sorted((run.started for run in runs if run.automatic and run.started > now - DAY), reverse=True)
    if rules.daily_budget < 1:
        return Decision("budget", "the daily budget is 0: nothing is retrained by itself.", alarm, now + DAY)
    if len(starts) < rules.daily_budget:
        return None
    until = starts[rules.daily_budget - 1] + DAY
    return Decision(
        "budget", f"the daily budget of {rules.daily_budget} is used up until {_time(until)}.", alarm, until
    )


def _ended(runs: Sequence[Retraining], finished: bool) -> list[tuple[datetime, Retraining]]:
    """Runs that have ended, with when, the last first."""
    found = [(run.ended, run) for run in runs if run.ended is not None and run.finished == finished]
    return sorted(found, key=lambda each: (each[0], each[1].started, each[1].end or ""), reverse=True)


def _missed(history: History, rules: Rules, now: datetime, grace: timedelta) -> tuple[Alarm, ...]:
    """What was decided at each verdict, by what was known then, less what a run has answered or is about to."""
    under_way = max((run.started for run in history.runs if run.ended is None), default=None)
    found: dict[datetime, Alarm] = {}
    for each in _evidence(history, rules, now):
        if each.at > now - grace or not (each.harm or each.drifted):
            continue  # too young, or it says nothing that an alarm could be made of
        decision = decide(_as_of(history, each.at), rules, each.at)
        alarm = decision.alarm if decision.retrain else None
        if alarm and not _answered(alarm, history) and not (under_way and under_way >= alarm.at):
            found[alarm.at] = alarm
    return tuple(found[at] for at in sorted(found))


def _as_of(history: History, then: datetime) -> History:
    """History as it was known at a moment; verdicts that came later count for nothing then anyway."""
    runs = [
        replace(run, ended=None, end=None) if run.ended is not None and run.ended > then else run
        for run in history.runs
        if run.started <= then
    ]
    return replace(history, runs=runs)


def _doubled(span: timedelta, times: int, most: timedelta) -> timedelta:
    return min(most, span * 2.0 ** min(times, MOST_DOUBLINGS))


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
