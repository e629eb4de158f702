"""Served scores and the world's own, normalised alike over the same rows."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from infra.memory_archive import MemoryArchive
from services.client.oracle import quality
from tests.stores.log_records import NOON, SHOP, outcome, prediction

HOUR = timedelta(hours=1)


class Fair:
    """A world in which every row is labelled with the same probability."""

    def truth(self, rows: dict[str, np.ndarray]) -> np.ndarray:  # type: ignore[type-arg]
        return np.full(len(rows["at"]), 0.5)


def test_scores_are_held_against_the_worlds_own() -> None:
    archive = MemoryArchive()
    served = prediction("a", at=NOON)
    archive.append([served, outcome("a", item=served.rows["ad_id"][served.shown[0]])])
    found = quality(archive, SHOP, Fair(), NOON, NOON + HOUR)  # type: ignore[arg-type]  # the half of a World that is asked
    scores = archive.labelled(SHOP, NOON, NOON + HOUR, NOON + HOUR)["score"].to_numpy()
    assert found is not None
    assert found.rows == len(served.shown)
    assert found.oracle == pytest.approx(1.0)  # it knows no more than the base rate
    assert found.served == pytest.approx(-np.mean(np.log(scores) / 2 + np.log(1 - scores) / 2) / np.log(2))
    assert found.gap == found.served - found.oracle
    assert found.gap > 0


def test_rows_that_were_let_through_by_chance_count_for_those_that_were_not() -> None:
    archive = MemoryArchive()
    served = prediction("a", at=NOON)
    archive.append([replace(served, propensity=np.array([1.0] + [0.02] * (len(served.shown) - 1)))])
    plain = quality(archive, SHOP, Fair(), NOON, NOON + HOUR)  # type: ignore[arg-type]  # see above
    censored = replace(SHOP, task=replace(SHOP.task, censored=True))
    weighted = quality(archive, censored, Fair(), NOON, NOON + HOUR)  # type: ignore[arg-type]  # see above
    rows = archive.labelled(SHOP, NOON, NOON + HOUR, NOON + HOUR)
    scores, weights = rows["score"].to_numpy(), np.where(rows["place"] == 0, 1.0, 50.0)
    losses = -(np.log(scores) / 2 + np.log(1 - scores) / 2) / np.log(2)
    assert plain is not None
    assert weighted is not None
    assert weighted.served == pytest.approx(np.average(losses, weights=weights))
    assert weighted.served != pytest.approx(plain.served)


def test_where_nothing_was_served_there_is_nothing_to_say() -> None:
    assert quality(MemoryArchive(), SHOP, Fair(), NOON, NOON + HOUR) is None  # type: ignore[arg-type]  # see above
