"""Served scores and the world's own, normalised alike over the same rows."""

from datetime import timedelta

import numpy as np
import pytest

from infra.memory_archive import MemoryArchive
from services.client.oracle import quality
from tests.stores.log_records import NOON, SHOP, outcome, prediction


class Fair:
    """A world in which every row is labelled with the same probability."""

    def truth(self, rows: dict[str, np.ndarray]) -> np.ndarray:  # type: ignore[type-arg]
        return np.full(len(rows["at"]), 0.5)


def test_scores_are_held_against_the_worlds_own() -> None:
    archive = MemoryArchive()
    served = prediction("a", at=NOON)
    shown = served.rows["ad_id"][served.shown[0]]
    archive.append([served, outcome("a", item=shown)])
    until = NOON + timedelta(hours=1)
    found = quality(archive, SHOP, Fair(), NOON, until)  # type: ignore[arg-type]  # the half of a World that is asked
    rows = archive.labelled(SHOP, NOON, until, until)
    labels, scores = rows["clicked"].to_numpy(), rows["score"].to_numpy()
    entropy = -np.mean(labels * np.log(labels.mean()) + (1 - labels) * np.log(1 - labels.mean()))
    assert found is not None
    assert found.rows == len(rows)
    assert found.oracle == pytest.approx(np.log(2) / entropy)
    assert found.served == pytest.approx(-np.mean(np.log(np.where(labels == 1, scores, 1 - scores))) / entropy)
    assert found.gap == pytest.approx(found.served - found.oracle)


def test_one_kind_of_label_alone_says_nothing() -> None:
    archive = MemoryArchive()
    archive.append([prediction("a", at=NOON)])
    assert quality(archive, SHOP, Fair(), NOON, NOON + timedelta(hours=1)) is None  # type: ignore[arg-type]  # see above
