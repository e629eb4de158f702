"""What video_recommendation works out at each request, held against the plainest way of working it out."""

from collections.abc import Collection
from math import ceil
from typing import Any

import numpy as np
import pytest

from contracts.system import AT, Columns, Floats
from systems.video_recommendation import features
from systems.video_recommendation.rerank import NEW, NEW_SHARE, OF_ONE_CATEGORY, OF_ONE_CREATOR, Page, page
from systems.video_recommendation.retriever import once
from systems.video_recommendation.shelf import load, shelf

NOW = 1_773_532_800.0


def plain(rows: Columns, values: Floats, watched: Collection[str], slots: int) -> Page:
    """The rules of a page as they are told: every row is asked about at every step."""
    order = sorted(range(len(values)), key=lambda row: (-values[row], row))
    order = [row for row in order if rows["video_id"][row] not in watched] or order
    taken: list[int] = []

    def allowed(row: int) -> bool:
        of = {
            name: [rows[name][other] for other in taken].count(rows[name][row]) for name in ("category", "creator_id")
        }
        few = of["category"] < ceil(OF_ONE_CATEGORY * slots) and of["creator_id"] < ceil(OF_ONE_CREATOR * slots)
        return few and row not in taken

    new = [row for row in order if rows[AT][row] - rows["published_at"][row] < NEW]
    for those, places in ((new, min(int(NEW_SHARE * slots), slots - 1)), (order, slots - 1)):
        for row in those:
            if len(taken) < places and allowed(row):
                taken.append(row)
    best = [row for row in order if row in taken]
    eligible = [row for row in order if allowed(row)]
    return Page([*best, *eligible[:1]], eligible or best[-1:])


def candidates(random: np.random.Generator, count: int, categories: int, creators: int, young: float) -> Columns:
    age = np.where(random.random(count) < young, 0.5, 1.5) * NEW
    return {
        "video_id": np.array([f"v{row}" for row in range(count)], dtype=object),
        "category": np.array([f"k{one}" for one in random.integers(categories, size=count)], dtype=object),
        "creator_id": np.array([f"c{one}" for one in random.integers(creators, size=count)], dtype=object),
        "published_at": NOW - age,
        AT: np.full(count, NOW),
    }


@pytest.mark.parametrize("slots", [1, 2, 3, 10, 20, 50])
@pytest.mark.parametrize("categories", [1, 2, 24])
def test_a_page_is_the_one_that_the_rules_tell(slots: int, categories: int) -> None:
    """Tiny ones and large, some all young, some of one creator, some all watched, and with values that are the same."""
    random = np.random.default_rng([slots, categories])
    for _ in range(60):
        count = int(random.choice([1, 2, 5, 30, 120]))
        creators, young = int(random.choice([1, 3, 200])), float(random.choice([0.0, 0.05, 0.5, 1.0]))
        rows = candidates(random, count, categories, creators, young)
        values = random.random(count).round(int(random.choice([1, 6])))
        watched = random.choice(rows["video_id"], int(random.choice([0, count // 3, count])), replace=False).tolist()
        assert page(rows, values, [*watched, "elsewhere"], slots) == plain(rows, values, watched, slots)


def test_what_a_request_has_in_common_gives_the_features_that_its_rows_give() -> None:
    random = np.random.default_rng(0)
    numbers = {name: random.random(50) for name in ("similarity", "category_share", "duration")}
    common = {"device": "tv", "watched": "v1 v2 v3"}
    rows = {**candidates(random, 50, 5, 20, 0.5), **numbers}
    together = {**rows, **{name: np.broadcast_to(np.array(v, dtype=object), 50) for name, v in common.items()}}
    apart = {**rows, **{name: np.full(50, value, dtype=object) for name, value in common.items()}}
    one, other = features.on_request(together), features.on_request({**apart, AT: np.append(rows[AT][:-1], NOW + 1)})
    for name in features.REQUEST_FEATURES:
        assert one[name].shape == (50,)
        assert one[name][:-1].tolist() == other[name][:-1].tolist(), name


def test_no_rows_have_no_features() -> None:
    rows: dict[str, Any] = {name: np.zeros(0) for name in (AT, *features.SOURCE.columns)}
    assert {values.shape for values in features.on_request(rows).values()} == {(0,)}


def test_more_names_than_are_kept_have_the_buckets_that_they_had(monkeypatch: pytest.MonkeyPatch) -> None:
    names = np.array([f"c{number}" for number in range(100)], dtype=object)
    before = features.buckets(names).tolist()
    monkeypatch.setattr(features, "MOST_KNOWN", 7)
    assert features.buckets(np.tile(names, 2)).tolist() == before * 2


def test_once_is_each_position_where_it_comes_first() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        parts = [random.integers(40, size=size) for size in random.integers(30, size=4)]
        without = random.integers(40, size=int(random.integers(5))).tolist()
        expected = [one for one in dict.fromkeys(np.concatenate(parts).tolist()) if one not in without]
        assert once(*parts, without=without).tolist() == expected


def test_a_category_is_one_object_for_all_of_its_videos() -> None:
    strings = {
        "video_id": [f"v{row}" for row in range(90)],
        "category": ["".join(["k", str(i % 3)]) for i in range(90)],
    }
    items = {name: np.array(values, dtype=object) for name, values in strings.items()}
    filled = shelf({**items, "creator_id": items["category"], "duration": np.ones(90), AT: np.ones(90)})
    for found in (filled, load(filled.arrays())):
        assert found.columns["category"].tolist() == strings["category"]
        assert len({id(name) for name in found.columns["category"].tolist()}) == 3
