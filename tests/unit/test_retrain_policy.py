"""When to retrain: on harm, else on sustained drift; rarely, once, and again when the run was lost."""

import itertools
import math
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InvalidInput
from contracts.records import Verdict
from contracts.system import Monitoring
from infra.alarms import Alarm, alarm_of
from infra.retrain_policy import End, History, Retraining, Rules, decide, hindrance, reconcile

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
GRACE = 2 * MINUTE
RULES = Rules(window=3 * HOUR, cooldown=4 * HOUR)
FOUND = st.sampled_from([False, None, True])


def judged(ago: timedelta, harmed: bool | None = None, drifted: bool | None = None, version: str = "1") -> Verdict:
    """A verdict of which nothing but its time, its version and what it says matters here."""
    at, nan = NOW - ago, math.nan
    return Verdict("shop", at, at, at, version, 0, nan, nan, nan, harmed, 0, (), nan, drifted)


def ran(
    ago: timedelta, end: End | None = "promoted", took: timedelta = timedelta(0), by_itself: bool = True
) -> Retraining:
    return Retraining(NOW - ago, None if end is None else NOW - ago + took, end, by_itself)


def history(verdicts: list[Verdict], *runs: Retraining) -> History:
    return History(verdicts, runs, "1")


def drifts(*newest_first: bool | None) -> list[Verdict]:
    """Windows that touch and share no row."""
    return [judged(number * RULES.window, drifted=each) for number, each in enumerate(newest_first)]


def test_harm_is_retrained_on() -> None:
    found = decide(history([judged(MINUTE, harmed=True)]), RULES, NOW)
    assert (found.retrain, found.why) == (True, "harm")
    assert found.words == "The quality of version 1 fell (judged at 2026-03-15 11:59 UTC)."


def test_quality_that_held_takes_harm_back_and_an_inconclusive_window_does_not() -> None:
    harm = judged(HOUR, harmed=True)
    assert decide(history([harm, judged(MINUTE, harmed=False)]), RULES, NOW).why == "steady"
    assert decide(history([harm, judged(MINUTE, harmed=None)]), RULES, NOW).why == "harm"


def test_of_two_verdicts_on_one_moment_the_graver_counts() -> None:
    harm = [judged(HOUR, harmed=True), judged(HOUR, harmed=False)]
    drift = [judged(HOUR, drifted=True), judged(HOUR, drifted=False), judged(5 * HOUR, drifted=True)]
    for verdicts, why in ((harm, "harm"), (drift, "drift")):
        assert decide(history(verdicts), RULES, NOW).why == why
        assert decide(history(verdicts[::-1]), RULES, NOW).why == why


@pytest.mark.parametrize(
    ("newest_first", "why"),
    [
        ((True, True, False), "drift"),
        ((False, True, True), "drift"),
        ((True, False, True), "drift"),
        ((True, None, True), "drift"),
        ((True, False, None, True), "drift"),
        ((True, False, False, True), "steady"),
        ((True, None, None), "unknown"),
        ((False, False), "steady"),
    ],
)
def test_drift_is_retrained_on_in_two_of_the_last_three_windows_that_say_anything(newest_first, why) -> None:  # type: ignore[no-untyped-def]
    assert decide(history(drifts(*newest_first)), RULES, NOW).why == why


def test_windows_that_share_rows_are_one() -> None:
    often = [judged(number * 15 * MINUTE, drifted=True) for number in range(12)]
    assert decide(history(often), RULES, NOW).why == "unknown"
    assert decide(history([*often, judged(RULES.window, drifted=True)]), RULES, NOW).why == "drift"


def test_windows_share_rows_as_far_as_they_reach_and_not_as_long_as_they_are_now() -> None:
    long_ones = [replace(each, served_since=each.at - 2 * RULES.window) for each in drifts(True, True, True)]
    assert decide(history(long_ones[:2]), RULES, NOW).why == "unknown"
    assert decide(history(long_ones), RULES, NOW).why == "drift"


@pytest.mark.parametrize("harmed", [None, False])
def test_concept_drift_is_harm_though_the_window_alone_does_not_show_it(harmed: bool | None) -> None:
    found = decide(history([replace(judged(MINUTE, harmed), concept_drifted=True)]), RULES, NOW)
    assert (found.retrain, found.why) == (True, "harm")
    assert found.words == "The concept that version 1 learned has drifted (judged at 2026-03-15 11:59 UTC)."
    steady = decide(history([replace(judged(MINUTE, harmed=True), concept_drifted=False)]), RULES, NOW)
    assert steady.words.startswith("The quality of version 1 fell")
    missed = reconcile(history([replace(judged(HOUR, harmed), concept_drifted=True)]), RULES, NOW, GRACE)
    assert missed.start is not None


def test_what_a_system_allows_is_what_its_seventh_step_says() -> None:
    step = Monitoring(3 * HOUR, 1_500, 0.05, 0.99, 0.3, 4 * HOUR, daily_budget=2)
    assert Rules.of(step) == Rules(3 * HOUR, 4 * HOUR, 2)


def test_harm_goes_before_drift() -> None:
    both = [*drifts(True, True), judged(MINUTE, harmed=True)]
    assert decide(history(both), RULES, NOW).why == "harm"


def test_nothing_known_is_not_nothing_wrong() -> None:
    assert decide(history([]), RULES, NOW).why == "unknown"
    assert decide(history([judged(HOUR)]), RULES, NOW).why == "unknown"
    assert decide(history([judged(HOUR, harmed=False)]), RULES, NOW).why == "steady"


def test_evidence_is_forgotten_and_that_of_another_version_does_not_count() -> None:
    assert decide(history([judged(19 * HOUR, harmed=True)]), RULES, NOW).why == "unknown"
    assert decide(history([judged(HOUR, harmed=True, version="2")]), RULES, NOW).why == "unknown"
    assert decide(history([judged(-HOUR, harmed=True)]), RULES, NOW).why == "unknown"


def test_a_run_that_started_after_the_evidence_has_answered_it() -> None:
    harm = judged(6 * HOUR, harmed=True)
    assert decide(history([harm], ran(5 * HOUR, "refused")), RULES, NOW).why == "answered"
    assert decide(history([harm], ran(5 * HOUR, "died")), RULES, NOW).why == "harm"
    assert decide(history(drifts(False, True, True), ran(2 * HOUR, "refused")), RULES, NOW).why == "answered"


def test_the_cooldown_counts_from_the_end_of_the_last_run_and_says_until_when() -> None:
    runs = ran(5 * HOUR, "refused", took=2 * HOUR)
    found = decide(history([judged(MINUTE, harmed=True)], runs), RULES, NOW)
    assert (found.why, found.until) == ("cooldown", NOW + HOUR)
    assert found.alarm is not None
    assert found.words.endswith("No retraining now: cooldown until 2026-03-15 13:00 UTC, for the last run was refused.")


def test_a_run_under_way_is_waited_for() -> None:
    found = decide(history([judged(MINUTE, harmed=True)], ran(HOUR, None)), RULES, NOW)
    assert (found.why, found.retrain) == ("running", False)


def test_the_budget_is_of_any_24_hours_and_of_runs_that_started_by_themselves() -> None:
    rules = replace(RULES, cooldown=HOUR, daily_budget=2)
    harm = [judged(MINUTE, harmed=True)]
    used_up = (ran(20 * HOUR), ran(10 * HOUR))
    found = decide(history(harm, *used_up), rules, NOW)
    assert (found.why, found.until) == ("budget", NOW + 4 * HOUR)
    assert "daily budget of 2" in found.words
    assert decide(history(harm, ran(24 * HOUR), ran(10 * HOUR)), rules, NOW).retrain
    assert decide(history(harm, ran(20 * HOUR), ran(10 * HOUR, by_itself=False)), rules, NOW).retrain
    more_than_now = (*used_up, ran(15 * HOUR))  # of days when the budget was larger
    assert decide(history(harm, *more_than_now), rules, NOW).until == NOW + 9 * HOUR
    assert decide(history(harm), replace(rules, daily_budget=0), NOW).why == "budget"


def test_a_run_that_died_is_tried_again_soon_and_later_each_time() -> None:
    harm = [judged(2 * HOUR, harmed=True)]
    assert decide(history(harm, ran(9 * MINUTE, "died")), RULES, NOW).why == "cooldown"
    assert decide(history(harm, ran(10 * MINUTE, "died")), RULES, NOW).retrain
    twice = (ran(40 * MINUTE, "died"), ran(15 * MINUTE, "failed"))
    assert decide(history(harm, *twice), RULES, NOW).until == NOW + 5 * MINUTE


def test_a_judgement_ends_the_count_of_runs_that_died() -> None:
    runs = (ran(20 * HOUR, "died"), ran(19 * HOUR, "died"), ran(10 * HOUR, "refused"), ran(15 * MINUTE, "died"))
    assert decide(history([judged(HOUR, harmed=True)], *runs), replace(RULES, daily_budget=9), NOW).retrain


def test_drift_in_which_the_gate_saw_no_gain_asks_less_and_less_often_and_harm_does_not() -> None:
    refused = (ran(20 * HOUR, "refused"), ran(7 * HOUR, "refused"))
    assert decide(history(drifts(True, True), *refused), RULES, NOW).until == NOW + 9 * HOUR
    assert decide(history([judged(MINUTE, harmed=True)], *refused), RULES, NOW).retrain
    accepted = (ran(20 * HOUR, "refused"), ran(7 * HOUR, "promoted"))
    assert decide(history(drifts(True, True), *accepted), RULES, NOW).retrain


def test_an_alarm_of_a_champion_that_was_replaced_meanwhile_starts_nothing() -> None:
    alarm = decide(history([judged(MINUTE, harmed=True)]), RULES, NOW).alarm
    assert alarm is not None
    held = hindrance(alarm, History([], [], "2"), RULES, NOW)
    assert held is not None
    assert held.why == "answered"


def test_a_run_knows_its_alarm_by_its_key() -> None:
    alarm = Alarm("drift", NOW + timedelta(microseconds=7), "12", "The data drifted.")
    assert alarm_of(alarm.key, alarm.words) == alarm
    for key in ("", "harm-3", "drift-3-yesterday", "bored-3-20260315T120000.000000", "harm--20260315T120000.000000"):
        with pytest.raises(InvalidInput, match="no alarm's key"):
            alarm_of(key, "")


def test_a_missed_alarm_is_named_and_a_run_starts_for_it() -> None:
    found = reconcile(history([judged(10 * MINUTE, harmed=True)]), RULES, NOW, GRACE)
    assert [each.at for each in found.missed] == [NOW - 10 * MINUTE]
    assert found.start == found.missed[0]
    assert found.words.startswith("1 alarm without a run since 2026-03-15 11:50 UTC; a run starts")


def test_an_alarm_has_its_time_of_grace() -> None:
    found = reconcile(history([judged(MINUTE, harmed=True)]), RULES, NOW, GRACE)
    assert (found.missed, found.start) == ((), None)


@pytest.mark.parametrize("end", ["promoted", "refused", "cancelled", None])
def test_an_alarm_with_a_run_is_not_missed(end: End | None) -> None:
    harm = [judged(10 * MINUTE, harmed=True)]
    assert not reconcile(history(harm, ran(9 * MINUTE, end)), RULES, NOW, GRACE).missed


def test_an_alarm_whose_run_was_killed_is_missed_and_started_again_after_the_wait() -> None:
    harm = [judged(30 * MINUTE, harmed=True)]
    soon = reconcile(history(harm, ran(5 * MINUTE, "died")), RULES, NOW, GRACE)
    assert (len(soon.missed), soon.start) == (1, None)
    later = reconcile(history(harm, ran(20 * MINUTE, "died")), RULES, NOW, GRACE)
    assert later.start == later.missed[0]


def test_what_was_held_up_by_the_cooldown_was_not_missed() -> None:
    harm = [judged(10 * MINUTE, harmed=True)]
    assert not reconcile(history(harm, ran(HOUR, "refused")), RULES, NOW, GRACE).missed


def test_a_missed_alarm_that_a_later_window_takes_back_is_named_and_starts_nothing() -> None:
    verdicts = [judged(HOUR, harmed=True), judged(MINUTE, harmed=False)]
    found = reconcile(history(verdicts), RULES, NOW, GRACE)
    assert (len(found.missed), found.start) == (1, None)
    assert "quality held" in found.words


steadily = settings(deadline=None, derandomize=True)  # a busy machine is slow, and a failure is to come again
ENDS = st.sampled_from(["promoted", "refused", "cancelled", "failed", "died"])
AGES = st.integers(0, 36).map(
    lambda halves: halves * HOUR / 2
)  # so coarse that two verdicts have one time now and then
VERDICTS = st.lists(st.builds(judged, AGES, FOUND, FOUND, st.sampled_from("112")), max_size=12)
RUNS = st.lists(  # all of them before now
    st.builds(ran, st.integers(1, 48 * 60).map(lambda m: m * MINUTE), ENDS, st.just(timedelta(0)), st.booleans()),
    max_size=8,
)


@steadily
@given(VERDICTS, RUNS, st.randoms(use_true_random=False))
def test_the_order_of_verdicts_and_runs_does_not_matter(verdicts, runs, order: random.Random) -> None:  # type: ignore[no-untyped-def]
    mixed = order.sample(verdicts, len(verdicts)), order.sample(runs, len(runs))
    assert decide(History(*mixed, "1"), RULES, NOW) == decide(History(verdicts, runs, "1"), RULES, NOW)
    assert reconcile(History(*mixed, "1"), RULES, NOW, GRACE) == reconcile(
        History(verdicts, runs, "1"), RULES, NOW, GRACE
    )


@steadily
@given(VERDICTS, RUNS, st.data())
def test_graver_evidence_never_takes_a_retraining_back(verdicts, runs, data) -> None:  # type: ignore[no-untyped-def]
    """False → None → True of harm in any verdict, and False → True of drift."""
    before = decide(History(verdicts, runs, "1"), RULES, NOW)
    if not before.retrain:
        return
    place = data.draw(st.integers(0, len(verdicts) - 1))
    one, graver = verdicts[place], {False: None, None: True, True: True}
    for changed in (
        replace(one, harmed=graver[one.harmed]),
        replace(one, drifted=one.drifted if one.drifted is None else True),
    ):
        after = decide(History([*verdicts[:place], changed, *verdicts[place + 1 :]], runs, "1"), RULES, NOW)
        assert after.retrain, (one, changed)


@steadily
@given(st.lists(FOUND, min_size=1, max_size=5), st.data())
def test_one_more_window_with_drift_never_takes_a_retraining_back(found, data) -> None:  # type: ignore[no-untyped-def]
    """Windows that share no row: of those that do, a new one may leave no room for two others."""
    place = data.draw(st.integers(0, len(found) - 1))
    more = [*found[:place], True if found[place] is None else found[place], *found[place + 1 :]]
    if decide(history(drifts(*found)), RULES, NOW).retrain:
        assert decide(history(drifts(*more)), RULES, NOW).retrain


@steadily
@given(VERDICTS, RUNS)
def test_drift_never_hides_harm(verdicts, runs) -> None:  # type: ignore[no-untyped-def]
    calm = [replace(each, drifted=None) for each in verdicts]
    if decide(History(calm, runs, "1"), RULES, NOW).why == "harm":
        assert decide(History(verdicts, runs, "1"), RULES, NOW).why == "harm"


@steadily
@given(RUNS, st.integers(1, 4), st.sampled_from(["harm", "drift"]))
def test_what_is_held_up_may_start_when_the_decision_says_and_not_a_moment_before(runs, budget, cause) -> None:  # type: ignore[no-untyped-def]
    verdicts = [judged(timedelta(0), harmed=True)] if cause == "harm" else drifts(True, True)
    past, rules = History(verdicts, runs, "1"), replace(RULES, daily_budget=budget)
    found = decide(past, rules, NOW)
    assert found.alarm is not None
    assert found.retrain == (found.until is None)
    if found.until is not None:
        assert hindrance(found.alarm, past, rules, found.until) is None
        assert hindrance(found.alarm, past, rules, found.until - timedelta(microseconds=1)) is not None


@dataclass
class Week:
    """A system whose monitor finds what it is told to, whose events come late, twice or never, whose workers may be
    killed, and whose poll looks every five minutes. A run is admitted as `retrain` admits it: under the lock."""

    rules: Rules
    chance: random.Random
    verdicts: list[Verdict] = field(default_factory=list)
    runs: list[Retraining] = field(default_factory=list)
    events: list[tuple[datetime, Alarm]] = field(default_factory=list)
    champion: int = 1

    def past(self) -> History:
        return History(self.verdicts, self.runs, str(self.champion))

    def live(self, harmed: float, minutes: int) -> None:
        for minute in range(0, minutes, 5):
            now = NOW + minute * MINUTE
            self.end_what_is_due(now)
            if minute % 60 == 0:
                self.judge(now, harmed)
            for due in [each for each in self.events if each[0] <= now]:
                self.events.remove(due)
                self.start(due[1], now)
            if found := reconcile(self.past(), self.rules, now, GRACE).start:
                self.start(found, now)

    def judge(self, now: datetime, harmed: float) -> None:
        found = self.chance.random() < harmed
        self.verdicts.append(replace(judged(timedelta(0), found, found, str(self.champion)), at=now))
        decision = decide(self.past(), self.rules, now)
        if decision.retrain and decision.alarm:
            late = [self.chance.choice([0, 0, 1, 30, 300]) * MINUTE for _ in range(self.chance.choice([0, 1, 1, 2]))]
            self.events += [(now + each, decision.alarm) for each in late]

    def start(self, alarm: Alarm, now: datetime) -> None:
        if hindrance(alarm, self.past(), self.rules, now) is None:
            self.runs.append(Retraining(now))

    def end_what_is_due(self, now: datetime) -> None:
        """Every run ends within half an hour, well or not."""
        for place, run in enumerate(self.runs):
            if run.ended is None and (self.chance.random() < 0.5 or now - run.started >= 30 * MINUTE):
                end: End = self.chance.choice(["promoted", "refused", "failed", "died"])
                self.runs[place] = replace(run, ended=now, end=end)
                self.champion += end == "promoted"


@settings(steadily, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.5, 1.0]), st.integers(1, 4), st.integers(1, 8))
def test_events_and_polls_together_keep_to_the_rules(seed: int, harmed: float, budget: int, cooldown: int) -> None:
    week = Week(Rules(3 * HOUR, cooldown * HOUR, budget), random.Random(seed))
    week.live(harmed, minutes=3 * 24 * 60)
    starts = [run.started for run in week.runs]
    for earlier, later in zip(week.runs, week.runs[1:], strict=False):
        assert earlier.ended is not None, "one at a time"
        rest = week.rules.cooldown if earlier.finished else min(week.rules.retry, week.rules.cooldown)
        assert later.started >= earlier.ended + rest
    assert all(sum(one <= other < one + 24 * HOUR for other in starts) <= budget for one in starts)
    judgements = [run for run in week.runs if run.finished]
    for first, second in itertools.pairwise(judgements):
        assert second.started - first.started >= week.rules.cooldown, "never two within the cooldown"


def test_no_harm_goes_unanswered_though_no_event_ever_comes_and_two_workers_are_killed() -> None:
    past, now = history([judged(timedelta(0), harmed=True)]), NOW
    ends: list[End] = ["died", "died", "promoted"]
    while ends:
        now += MINUTE
        if reconcile(past, RULES, now, GRACE).start:
            past = replace(past, runs=[*past.runs, Retraining(now, now + MINUTE, ends.pop(0))])
    assert [run.started - NOW for run in past.runs] == [2 * MINUTE, 13 * MINUTE, 34 * MINUTE]
    assert not reconcile(past, RULES, now + 12 * HOUR, GRACE).missed
