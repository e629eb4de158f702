"""What the parts found is one verdict, whichever of them could say anything."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd

import systems
from contracts.records import ModelVersion
from infra.settings import Settings
from infra.verdicts import VerdictFile
from monitoring.concept import Concept
from monitoring.data import Data
from monitoring.estimate import Estimated
from monitoring.found import Found, in_words, no_concept, no_data, no_estimate, verdict
from monitoring.judge import Window
from monitoring.quality import Loss

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SYSTEM = systems.load("ad_click")
CHAMPION = ModelVersion("ad_click", "3", "0" * 64, "run", ("x",), NOW)
WINDOW = Window(NOW - 4 * HOUR, NOW, pd.DataFrame(), pd.DataFrame({"score": [0.1, 0.2]}))
ALL = Found(
    Loss(9_000, 0.31, 0.30, 0.29),
    False,
    Concept(True, 12.0, 11.5, 4_000, NOW - HOUR),
    Data(True, ("device",), 0.05, "One of 20 columns shifted: device.", {"device": 0.4, "hour": -0.01}, ()),
    Estimated(0.30, 0.28, 0.33, "", ()),
)
NONE = Found(ALL.loss, None, no_concept("young"), no_data("28 more windows are needed."), no_estimate("few rows"))


def test_all_that_was_found_is_kept_and_read_again(settings: Settings) -> None:
    found = verdict(SYSTEM, CHAMPION, WINDOW, ALL)
    assert (found.harm, found.harmed, found.concept_drifted, found.drifted) == (True, False, True, True)
    assert (found.drifted_columns, found.effects) == (("device",), {"device": 0.4, "hour": -0.01})
    assert (found.served_since, found.since) == (NOW - SYSTEM.monitoring.window, NOW - 4 * HOUR)
    file = VerdictFile(settings.path("verdicts", "x").parent)
    file.append(replace(found, decision="Steady."))
    assert file.read("ad_click") == [replace(found, decision="Steady.")]


def test_a_part_that_said_nothing_is_inconclusive_and_never_good() -> None:
    found = verdict(SYSTEM, CHAMPION, WINDOW, NONE)
    assert (found.harm, found.concept_drifted, found.drifted) == (None, None, None)
    assert found.drift_words == "28 more windows are needed."
    assert all(map(math.isnan, (found.concept_evidence, found.drift_share, found.estimated_loss)))


def test_a_verdict_in_words_names_each_part() -> None:
    quality, concept, data, estimate = in_words(verdict(SYSTEM, CHAMPION, WINDOW, ALL))
    assert quality.startswith("Version 3: quality held (loss 0.3100, at least 0.3000")
    assert concept == "Concept drifted (evidence 12.00, an alarm at 11.50, 4,000 labelled predictions)."
    assert data == "Data drifted: 1 column shifted (device), 2 rows. One of 20 columns shifted: device."
    assert "0.3000 (0.2800 to 0.3300); this cannot see concept drift" in estimate
    unsure = in_words(verdict(SYSTEM, CHAMPION, WINDOW, NONE))
    assert ["inconclusive" in line for line in unsure[:3]] == [True, True, True]
    assert unsure[3] == "No estimate before the labels are in."
